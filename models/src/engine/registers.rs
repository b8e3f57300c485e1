//! Clears what the engine's kernels leave behind in the processor's vector registers.
//!
//! tract's x86 kernels use the wide registers (AVX, AVX-512) and do not clear their upper halves when they
//! are done. Until somebody does, the processor carries those halves along in every ordinary vector instruction
//! of the thread, also in the next frame's pixel work: measured on an AMD Zen 5, code that
//! is compiled for plain x86-64 then runs four times slower (0.45 ms became 1.8 ms for one frame's input, and
//! the network itself took 39 ms instead of 32). One instruction undoes it.
//!
//! Beside the int8 engine's kernels this is the crate's only `unsafe` code.

/// Clears the upper halves of the vector registers. Costs a few cycles; does nothing where there are none.
pub(super) fn clear_upper_halves() {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx") {
        // SAFETY: the processor has AVX, which is all that the function asks for.
        unsafe { zero_upper() }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
fn zero_upper() {
    std::arch::x86_64::_mm256_zeroupper();
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use std::arch::asm;

    use super::*;

    /// The upper half of a register after `between`, when all of its bits were set before.
    fn upper_half_after(between: fn()) -> u64 {
        let upper: u64;
        // SAFETY: the caller has checked for AVX; the register is declared as overwritten.
        unsafe {
            asm!(
                "vxorps ymm15, ymm15, ymm15",
                "vcmpps ymm15, ymm15, ymm15, 0",
                out("ymm15") _,
                options(nomem, nostack),
            );
        }
        between();
        // SAFETY: as above.
        unsafe {
            asm!(
                "vextractf128 xmm14, ymm15, 1",
                "vmovq {upper}, xmm14",
                upper = out(reg) upper,
                out("xmm14") _,
                options(nomem, nostack),
            );
        }
        upper
    }

    #[test]
    fn upper_halves_are_zero_afterwards() {
        if std::arch::is_x86_feature_detected!("avx") {
            assert_eq!(upper_half_after(|| ()), u64::MAX);
            assert_eq!(upper_half_after(clear_upper_halves), 0);
        }
    }
}
