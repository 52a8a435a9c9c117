//! Where a stage puts its output: a ring, another stage, a test's list.

/// The value that a full sink hands back, so that nothing is lost in silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full<T>(pub T);

/// The receiving end of a flow. Stages write to `&mut impl Sink<T>` and do not know what is behind it.
pub trait Sink<T> {
    /// Takes `value`, or hands it back when there is no room for it now.
    ///
    /// # Errors
    /// [`Full`] with the value when the sink has no room; the caller's written policy decides what then.
    fn push(&mut self, value: T) -> Result<(), Full<T>>;
}

impl<T, F: FnMut(T) -> Result<(), Full<T>>> Sink<T> for F {
    #[inline]
    fn push(&mut self, value: T) -> Result<(), Full<T>> {
        self(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_sink_hands_the_value_back() {
        let mut room = 1;
        let mut sink = |value: u8| {
            if room == 0 {
                return Err(Full(value));
            }
            room -= 1;
            Ok(())
        };
        assert_eq!(sink.push(7), Ok(()));
        assert_eq!(sink.push(8), Err(Full(8)));
    }
}
