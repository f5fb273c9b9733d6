//! The upper tail of the noncentral t distribution.
//!
//! Owns one integral. It aims at planning, not at p-values: about twelve digits after the decimal point, not
//! relative ones. Called by [`means`](super::means) only.

use super::super::distribution::normal_sf;

/// Steps of the trapezoidal rule, in standard deviations of the peak and at most as they are. Over a smooth
/// peak its error falls exponentially with the inverse of the step; half of these change no digit.
const STEP: f64 = 0.2;
const LARGEST_STEP: f64 = 0.1;

/// The logarithm of a weight that no longer counts.
const NEGLIGIBLE: f64 = 40.0;

/// Degrees of freedom from which W/ν is 1 to every digit that counts here.
const NORMAL_FROM: f64 = 1e13;

/// P(T > t) for T = (Z + `shift`)/√(W/ν), Z normal and W chi-square with ν = `dof` ≥ 1 degrees of freedom.
///
/// The mean of Φ̄(te^x − δ) over x = ½ ln(W/ν), whose density is proportional to exp(ν(x − ½e^{2x})): Johnson &
/// Welch (1940), doi:10.1093/biomet/31.3-4.362, in a variable in which it is smooth on both sides.
pub(super) fn noncentral_t_sf(t: f64, dof: f64, shift: f64) -> f64 {
    if dof >= NORMAL_FROM {
        return normal_sf(t - shift);
    }
    let root = (NEGLIGIBLE / dof).sqrt();
    let (left, right) = (root + NEGLIGIBLE / dof, root);
    let step = (STEP / (2.0 * dof).sqrt()).min(LARGEST_STEP);
    let points = ((left + right) / step).ceil() as u32;
    let (mut sum, mut weights) = (0.0, 0.0);
    for i in 0..=points {
        let x = f64::from(i) * step - left;
        // x − ½(e^{2x} − 1), which is ½ − ½e^{2x} + x without the constant.
        let weight = (dof * (x - 0.5 * (2.0 * x).exp_m1())).exp();
        sum += weight * normal_sf(t * x.exp() - shift);
        weights += weight;
    }
    sum / weights
}

#[cfg(test)]
mod tests {
    use super::super::super::distribution::student_t_sf;
    use super::*;

    #[test]
    fn without_a_shift_it_is_students_t() {
        for dof in [1.0, 2.0, 7.5, 40.0, 1e3, 1e9, 1e12, 1e14, f64::INFINITY] {
            for t in [0.0, 0.3, 2.0, 12.0] {
                let expected = student_t_sf(t, dof).unwrap();
                let got = noncentral_t_sf(t, dof, 0.0);
                assert!((got - expected).abs() < 1e-11, "{t} {dof}: {got} {expected}");
            }
        }
    }

    #[test]
    fn a_shift_at_zero_is_normal() {
        // T > 0 exactly when Z > −δ.
        for shift in [-3.0, 0.5, 4.0] {
            assert!((noncentral_t_sf(0.0, 5.0, shift) - normal_sf(-shift)).abs() < 1e-13);
        }
    }
}
