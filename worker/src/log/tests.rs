mod cost;
mod exactly_once;
mod late;
mod lost;
mod lots;
mod notices;
mod reading_back;
mod sending;
