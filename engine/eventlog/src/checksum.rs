//! CRC32C of a record: header and payload in one pass, in three lanes where the processor has the instructions.
//!
//! A step of the checksum takes three cycles and needs the one before, so that one lane leaves two thirds of the time
//! unused; library code begins with lanes at several hundred bytes, and records are shorter. Lanes are joined by a
//! carry-less multiplication by a power of x (V. Gopal and others, *Fast CRC Computation for iSCSI Polynomial Using CRC32
//! Instruction*, Intel 2011).
#![deny(clippy::arithmetic_side_effects)]

use crate::format::RECORD_HEADER_LEN;

/// CRC32C (Castagnoli, RFC 3720) of `header` followed by `payload`.
#[inline]
pub(crate) fn record_crc(header: &[u8; RECORD_HEADER_LEN], payload: &[u8]) -> u32 {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("sse4.2") && std::is_x86_feature_detected!("pclmulqdq") {
        // SAFETY: the processor has both sets of instructions.
        #[expect(unsafe_code, reason = "a safe function under target_feature, called from outside it")]
        return unsafe { lanes::crc(header, payload) };
    }
    crc32c::crc32c_append(crc32c::crc32c(header), payload)
}

#[cfg(target_arch = "x86_64")]
mod lanes {
    use core::arch::x86_64::{_mm_clmulepi64_si128, _mm_crc32_u8, _mm_crc32_u64, _mm_cvtsi64_si128, _mm_cvtsi128_si64};

    use super::RECORD_HEADER_LEN;

    /// Longest lane, in words of eight bytes.
    const LANE_LEN_MAX: usize = 32;
    /// The polynomial, its bits turned around (RFC 3720, appendix B.4: 0x11EDC6F41).
    const POLYNOMIAL: u32 = 0x82F6_3B78;
    /// By lane length: what moves a checksum over one lane, and over two.
    const SHIFTS: [[u32; 2]; LANE_LEN_MAX + 1] = shifts();

    /// x to the power of `exponent` modulo the polynomial, bits turned around.
    const fn power(exponent: usize) -> u32 {
        let (mut value, mut step) = (1_u32 << 31, 0);
        while step < exponent {
            value = (value >> 1) ^ if value & 1 == 1 { POLYNOMIAL } else { 0 };
            step = step.wrapping_add(1);
        }
        value
    }

    /// 33 less than the bits that are passed: the product of two turned numbers stands one bit too low, and the step that
    /// reduces it multiplies by x³².
    const fn shifts() -> [[u32; 2]; LANE_LEN_MAX + 1] {
        let (mut table, mut len) = ([[0; 2]; LANE_LEN_MAX + 1], 1_usize);
        while len <= LANE_LEN_MAX {
            let bits = len.wrapping_mul(64);
            #[expect(
                clippy::indexing_slicing,
                reason = "evaluated by the compiler, which refuses an index out of range"
            )]
            {
                table[len] = [power(bits.wrapping_sub(33)), power(bits.wrapping_mul(2).wrapping_sub(33))];
            }
            len = len.wrapping_add(1);
        }
        table
    }

    #[inline]
    #[target_feature(enable = "sse4.2,pclmulqdq")]
    pub(super) fn crc(header: &[u8; RECORD_HEADER_LEN], payload: &[u8]) -> u32 {
        let (head, _) = header.as_chunks::<8>();
        let (words, tail) = payload.as_chunks::<8>();
        let lane_len = (words.len() / 3).min(LANE_LEN_MAX);
        let (first, rest) = words.split_at_checked(lane_len).unwrap_or((words, &[]));
        let (second, rest) = rest.split_at_checked(lane_len).unwrap_or((rest, &[]));
        let (third, rest) = rest.split_at_checked(lane_len).unwrap_or((rest, &[]));
        let (mut a, mut b, mut c) = (u64::from(u32::MAX), 0, 0);
        for word in head {
            a = step(a, word);
        }
        for ((first, second), third) in first.iter().zip(second).zip(third) {
            (a, b, c) = (step(a, first), step(b, second), step(c, third));
        }
        let mut crc = match SHIFTS.get(lane_len) {
            Some([over_one, over_two]) if lane_len > 0 => {
                c ^ _mm_crc32_u64(0, times(a, *over_two) ^ times(b, *over_one))
            }
            Some(_) | None => a,
        };
        for word in rest {
            crc = step(crc, word);
        }
        // The instruction leaves the high half empty.
        let mut crc = u32::try_from(crc).unwrap_or(0);
        for byte in tail {
            crc = _mm_crc32_u8(crc, *byte);
        }
        !crc
    }

    #[inline]
    #[target_feature(enable = "sse4.2,pclmulqdq")]
    fn step(crc: u64, word: &[u8; 8]) -> u64 {
        _mm_crc32_u64(crc, u64::from_le_bytes(*word))
    }

    /// The low half of a product without carries.
    #[inline]
    #[target_feature(enable = "sse4.2,pclmulqdq")]
    fn times(crc: u64, shift: u32) -> u64 {
        let shift = _mm_cvtsi64_si128(i64::from(shift));
        let product = _mm_clmulepi64_si128::<0>(_mm_cvtsi64_si128(crc.cast_signed()), shift);
        _mm_cvtsi128_si64(product).cast_unsigned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_has_the_checksum_of_the_library() {
        let mut state = 5_u64;
        let mut bytes = [0_u8; 1_024];
        for byte in &mut bytes {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = state.to_le_bytes()[7];
        }
        for len in 0..=1_024 - RECORD_HEADER_LEN {
            for start in [0, 3] {
                let Some(bytes) = bytes.get(start..start + RECORD_HEADER_LEN + len) else { continue };
                let (header, payload) = bytes.split_first_chunk().unwrap();
                assert_eq!(record_crc(header, payload), crc32c::crc32c(bytes), "{len} bytes from {start}");
            }
        }
    }

    /// RFC 3720, appendix B.4: 32 bytes of zeros and of ones.
    #[test]
    fn the_examples_of_the_standard() {
        assert_eq!(record_crc(&[0; 16], &[0; 16]), 0x8A91_36AA);
        assert_eq!(record_crc(&[0xFF; 16], &[0xFF; 16]), 0x62A8_AB43);
    }
}
