//! Writing messages: the fixed part, then options one by one, into a buffer of the caller.

use super::messages::{AppendageRule, Body};
use super::options::{APPENDAGE_HEADER_LEN, OptionValue};

/// Bytes that hold any message of this protocol with every option once: 66 of the longest fixed part, 2, and 153.
pub const MESSAGE_LEN_MAX: usize = 256;

/// Why a message cannot be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The buffer is too short.
    #[error("the buffer has no room for the message: {MESSAGE_LEN_MAX} bytes hold any")]
    NoRoom,
    /// The message has no appendage.
    #[error("message `{}` has no appendage", char::from(*.0))]
    NoAppendage(u8),
}

/// A message under construction in a buffer of the caller.
#[derive(Debug)]
pub struct MessageBuilder<'b> {
    buffer: &'b mut [u8],
    message_type: u8,
    rule: AppendageRule,
    fixed_len: usize,
    len: usize,
}

impl<'b> MessageBuilder<'b> {
    /// A message with this fixed part. The appendage is there from the start where the message always has one, else
    /// from the first option on.
    ///
    /// # Errors
    /// [`BuildError::NoRoom`] when the buffer is too short.
    pub fn new<B: Body>(buffer: &'b mut [u8], body: &B) -> Result<Self, BuildError> {
        let fixed = body.as_bytes();
        buffer.get_mut(..fixed.len()).ok_or(BuildError::NoRoom)?.copy_from_slice(fixed);
        let (fixed_len, rule) = (fixed.len(), B::RULE);
        let mut builder = Self { buffer, message_type: B::TYPE, rule, fixed_len, len: fixed_len };
        if rule.is_always_written() {
            builder.append(&[0; APPENDAGE_HEADER_LEN])?;
        }
        Ok(builder)
    }

    /// Appends an option.
    ///
    /// # Errors
    /// [`BuildError::NoAppendage`] for a message without one, [`BuildError::NoRoom`] when the buffer is too short; the
    /// message is unchanged then.
    pub fn option(mut self, option: OptionValue) -> Result<Self, BuildError> {
        if self.rule == AppendageRule::Never {
            return Err(BuildError::NoAppendage(self.message_type));
        }
        let value = option.bytes();
        let value = value.as_slice();
        let len = u8::try_from(value.len()).unwrap_or(u8::MAX).saturating_add(1);
        if self.len == self.fixed_len {
            self.append(&[0; APPENDAGE_HEADER_LEN])?;
        }
        self.append(&[len, option.tag().code()])?;
        self.append(value)?;
        Ok(self)
    }

    /// Appends an option where there is one.
    ///
    /// # Errors
    /// As [`MessageBuilder::option`].
    pub fn maybe(self, option: Option<OptionValue>) -> Result<Self, BuildError> {
        match option {
            Some(option) => self.option(option),
            None => Ok(self),
        }
    }

    /// The finished message.
    #[must_use]
    pub fn finish(self) -> &'b [u8] {
        let start = self.fixed_len.saturating_add(APPENDAGE_HEADER_LEN);
        if let Some(options_len) = self.len.checked_sub(start)
            && let Some(room) = self.buffer.get_mut(self.fixed_len..start)
        {
            room.copy_from_slice(&u16::try_from(options_len).unwrap_or(u16::MAX).to_be_bytes());
        }
        self.buffer.get(..self.len).unwrap_or_default()
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), BuildError> {
        let end = self.len.saturating_add(bytes.len());
        self.buffer.get_mut(self.len..end).ok_or(BuildError::NoRoom)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }
}
