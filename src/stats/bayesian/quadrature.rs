//! Integrals over one panel: the whole, and up to each of its nodes.
//!
//! Owns the Gauss–Legendre rule. It knows no density. Called by the rest of this folder only.

use std::f64::consts::PI;

/// Nodes of a panel. 16 integrate polynomials of degree 31 exactly.
pub(super) const NODES: usize = 16;

/// The rule on [−1, 1]: Abramowitz & Stegun (1964), 25.4.29, with the roots of the Legendre polynomial by
/// Newton's method.
pub(super) struct Rule {
    /// The nodes, rising.
    pub(super) nodes: [f64; NODES],
    /// The weights of the integral over the panel; they sum to 2.
    pub(super) weights: [f64; NODES],
    /// Row i has the weights of the integral from −1 to node i of the polynomial through all nodes. The rows
    /// backwards, each backwards, are those of the integral from node i to 1.
    pub(super) up_to: [[f64; NODES]; NODES],
}

impl Rule {
    pub(super) fn gauss_legendre() -> Rule {
        let degree = NODES as f64;
        let mut nodes = [0.0; NODES];
        let mut weights = [0.0; NODES];
        for (i, (node, weight)) in nodes.iter_mut().zip(&mut weights).enumerate() {
            let mut x = -(PI * (i as f64 + 0.75) / (degree + 0.5)).cos();
            for _ in 0..8 {
                let (value, slope) = top(x);
                x -= value / slope;
            }
            let (_, slope) = top(x);
            *node = x;
            *weight = 2.0 / ((1.0 - x * x) * slope * slope);
        }
        // The polynomial through the nodes is Σ_k (k + ½) P_k(x) Σ_j w_j f_j P_k(x_j), and the integral of (2k
        // + 1)P_k is P_(k+1) − P_(k−1).
        let values = nodes.map(legendre);
        let mut up_to = [[0.0; NODES]; NODES];
        for (row, at) in up_to.iter_mut().zip(&values) {
            for ((entry, of), weight) in row.iter_mut().zip(&values).zip(&weights) {
                let mut sum = at[1] + 1.0;
                for k in 1..NODES {
                    sum += of[k] * (at[k + 1] - at[k - 1]);
                }
                *entry = 0.5 * weight * sum;
            }
        }
        Rule {
            nodes,
            weights,
            up_to,
        }
    }
}

/// P_0(x) … P_16(x) by their recurrence.
fn legendre(x: f64) -> [f64; NODES + 1] {
    let mut values = [1.0; NODES + 1];
    values[1] = x;
    for k in 2..=NODES {
        let n = k as f64;
        values[k] = ((2.0 * n - 1.0) * x * values[k - 1] - (n - 1.0) * values[k - 2]) / n;
    }
    values
}

/// P_16(x) and its slope, for |x| < 1.
fn top(x: f64) -> (f64, f64) {
    let values = legendre(x);
    let slope = NODES as f64 * (x * values[NODES] - values[NODES - 1]) / (x * x - 1.0);
    (values[NODES], slope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponentials_are_integrated_up_to_every_node() {
        let rule = Rule::gauss_legendre();
        let f = rule.nodes.map(f64::exp);
        let integral = |weights: &[f64; NODES]| weights.iter().zip(&f).map(|(w, f)| w * f).sum::<f64>();
        assert!((integral(&rule.weights) - 2.0 * 1f64.sinh()).abs() < 1e-14);
        for (row, node) in rule.up_to.iter().zip(rule.nodes) {
            assert!((integral(row) - (node.exp() - (-1f64).exp())).abs() < 1e-14);
        }
        for (i, node) in rule.nodes.iter().enumerate() {
            let mut rest = rule.up_to[NODES - 1 - i];
            rest.reverse();
            assert!((integral(&rest) - (1f64.exp() - node.exp())).abs() < 1e-14);
        }
    }
}
