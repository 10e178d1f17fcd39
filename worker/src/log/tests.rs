mod exactly_once;
mod late;
mod lots;
mod reading_back;
mod sending;
