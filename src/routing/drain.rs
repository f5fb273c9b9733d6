//! Conversations that keep their version for a while after a freeze: the ones that can show a receipt.
//!
//! No unit is remembered anywhere, so the gateway brings the receipt of an earlier answer along. It must be this
//! experiment's and this unit's, from before the freeze, and young; it is not renewed, so a conversation ends with it. Not
//! on the way of a decision of anything that runs.

use super::{
    answer::{Answer, Reason},
    assign::Assignment,
    explain::{Check, Observer},
    hash,
    receipt::ReceiptKeys,
    table::RoutedExperiment,
};
use crate::domain::{
    audience::{Attributes, UnitScratch},
    id::{ArmIndex, Epoch},
};

/// What a frozen experiment lets conversations keep.
#[derive(Debug)]
pub struct Drain {
    /// Receipts of this epoch or an earlier one are from before the freeze.
    pub(crate) before: Epoch,
    /// Receipts must be younger than this, in seconds.
    pub(crate) for_s: i64,
    /// What each arm served.
    pub(crate) answers: Box<[(ArmIndex, Answer)]>,
}

impl Drain {
    fn answer(
        &self,
        experiment: &RoutedExperiment,
        (keys, receipt): (&ReceiptKeys, &str),
        attributes: &Attributes<'_>,
        unix_second: i64,
    ) -> Option<&Answer> {
        let receipt = keys.verify(receipt).ok()?;
        let mut scratch = UnitScratch::default();
        let unit = attributes.unit(&experiment.unit, &mut scratch)?;
        let holds = receipt.experiment == experiment.key
            && receipt.epoch < self.before
            && receipt.unit_hash == hash::analysis_hash(unit)
            && unix_second - i64::from(receipt.second) < self.for_s;
        let mut answers = self.answers.iter();
        answers
            .find(|(arm, _)| holds && *arm == receipt.arm)
            .map(|(_, answer)| answer)
    }
}

/// The assignment that a receipt keeps up; none when the experiment is not draining, or the receipt does not hold.
#[must_use]
pub fn kept<'t, O: Observer>(
    frozen: &Assignment<'t>,
    signed: (&ReceiptKeys, &str),
    attributes: &Attributes<'_>,
    unix_second: i64,
    observer: &mut O,
) -> Option<Assignment<'t>> {
    let experiment = frozen.experiment?;
    let drain = experiment.drain.as_ref()?;
    let answer = drain.answer(experiment, signed, attributes, unix_second);
    observer.step(experiment, Check::Drain, answer.is_some(), &|| {
        format!(
            "a receipt from before the freeze keeps its version for {} s",
            drain.for_s
        )
    });
    Some(Assignment {
        answer: answer?,
        reason: Reason::Cached,
        cause: None,
        experiment: Some(experiment),
        unit_hash: None,
    })
}
