//! Where builders put their rows: a file, or memory.

use crate::{DatasetError, DatasetWriter, Sequence};

/// Takes sequences in chunks.
pub(crate) trait SequenceSink {
    /// As [`DatasetWriter::push`].
    fn push(&mut self, number: Option<u32>, chunk: &Sequence) -> Result<u32, DatasetError>;
    /// As [`DatasetWriter::end`].
    fn end(&mut self, number: u32);
}

impl SequenceSink for DatasetWriter {
    fn push(&mut self, number: Option<u32>, chunk: &Sequence) -> Result<u32, DatasetError> {
        Self::push(self, number, chunk)
    }
    fn end(&mut self, number: u32) {
        Self::end(self, number);
    }
}

/// Keeps everything.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    sequences: Vec<Sequence>,
}

impl Memory {
    pub(crate) fn sequences(self) -> Vec<Sequence> {
        self.sequences
    }
}

impl SequenceSink for Memory {
    fn push(&mut self, number: Option<u32>, chunk: &Sequence) -> Result<u32, DatasetError> {
        let next = u32::try_from(self.sequences.len()).map_err(DatasetError::shape)?;
        let number = number.unwrap_or(next);
        match self.sequences.get_mut(usize::try_from(number).unwrap_or(usize::MAX)) {
            Some(sequence) => sequence.append(chunk),
            None => self.sequences.push(chunk.clone()),
        }
        Ok(number)
    }
    fn end(&mut self, _number: u32) {}
}
