//! Whether numbered deliveries come each once and in order.

/// What came out of line on any channel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Faults {
    /// Numbers passed over that have not come since.
    pub missing: u64,
    /// Numbers that came again.
    pub duplicates: u64,
    /// Numbers that came behind a higher one.
    pub reordered: u64,
}

impl Faults {
    pub fn add(&mut self, other: Self) {
        self.missing += other.missing;
        self.duplicates += other.duplicates;
        self.reordered += other.reordered;
    }
}

/// The numbers of one sequence that came so far: the highest, and which of the 64 before it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    last: u64,
    seen: u64,
}

impl Window {
    /// A sequence that goes on behind `last`.
    pub const fn after(last: u64) -> Self {
        Self { last, seen: u64::MAX }
    }

    /// Takes the next number; whether it is new.
    pub fn take(&mut self, number: u64, faults: &mut Faults) -> bool {
        if number == self.last + 1 {
            self.seen = self.seen << 1 | 1;
            self.last = number;
            return true;
        }
        if number > self.last {
            let step = number - self.last;
            faults.missing += step - 1;
            self.seen =
                u32::try_from(step).ok().and_then(|step| self.seen.checked_shl(step)).unwrap_or(0) | 1;
            self.last = number;
            return true;
        }
        let bit = u32::try_from(self.last - number).ok().and_then(|back| 1_u64.checked_shl(back));
        match bit {
            Some(bit) if self.seen & bit == 0 => {
                self.seen |= bit;
                faults.missing = faults.missing.saturating_sub(1);
                faults.reordered += 1;
                true
            }
            // Further back than is kept it can only be taken for a repeat.
            _ => {
                faults.duplicates += 1;
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(numbers: &[u64]) -> (u64, u64, u64) {
        let (mut window, mut faults) = (Window::after(10), Faults::default());
        for number in numbers {
            window.take(*number, &mut faults);
        }
        (faults.missing, faults.duplicates, faults.reordered)
    }

    #[test]
    fn each_once_and_in_order_is_no_fault() {
        assert_eq!(faults(&[11, 12, 13]), (0, 0, 0));
    }

    #[test]
    fn a_hole_a_repeat_and_a_late_one_are_told_apart() {
        assert_eq!(faults(&[11, 13]), (1, 0, 0));
        assert_eq!(faults(&[11, 13, 12]), (0, 0, 1));
        assert_eq!(faults(&[11, 12, 12]), (0, 1, 0));
        assert_eq!(faults(&[10]), (0, 1, 0), "before the sequence began");
        assert_eq!(faults(&[200, 12]), (189, 1, 0));
    }
}
