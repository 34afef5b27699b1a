//! Taking reports (challenge.md §4).

use datdot_primitives::{
    attempts::index_of,
    draws::Opened,
    head::Head,
    multiproof::MultiproofError,
    receipt::{Receipt, ReceiptError},
    report::{check, Checked, Expected, Outcome, Report, ReportError, Served},
};
use frame::prelude::*;
use pallet_hosting::HostingId;

use crate::{
    types::{
        Challenge, ChallengeId, Flip, ReportRecord, ReportedOutcome, ServedRecord, Stage, Tally,
    },
    Challenges, Config, Error, Event, Flips, Pallet, Reports, Rooms, Tallies, VerifiedHeads,
    WeightInfo,
};

impl<T: Config> Pallet<T> {
    /// What a report costs that does not settle the challenge: by its leaves and nodes.
    pub(crate) fn report_weight(report: &Report) -> Weight {
        match &report.body.outcome {
            Outcome::Served(served) => {
                let parts = served.sizes.len() + served.nodes.len();
                T::WeightInfo::submit_report(parts as u32)
            }
            Outcome::Failed(_) => T::WeightInfo::submit_failure(),
        }
    }

    pub(crate) fn do_submit_report(
        who: T::AccountId,
        id: ChallengeId,
        report: &Report,
    ) -> DispatchResultWithPostInfo {
        let challenge = Challenges::<T>::get(id).ok_or(Error::<T>::UnknownChallenge)?;
        let index = challenge.index_of(&who).ok_or(Error::<T>::NotInRoster)?;
        let mut challenge = Self::taking_reports(id, challenge)?;
        let mut tally = Tallies::<T>::get(id);
        ensure!(!tally.has(index), Error::<T>::AlreadyReported);

        let flip = Flips::<T>::get(id)
            .defensive_proof("reports are taken of what was flipped")
            .ok_or(Error::<T>::ReportsNotOpen)?;
        let place = index_of(flip.active, index).ok_or(Error::<T>::NotActive)?;
        let hosting = challenge.hosting;
        let heads = VerifiedHeads::<T>::get(hosting);
        let expected = expected(&challenge, &flip, index, place)
            .defensive_proof("a flip has one commitment per active member")
            .ok_or(Error::<T>::NotActive)?;
        let checked =
            check(report, &expected, |head| heads.contains(head)).map_err(Error::<T>::from)?;
        if let Some(head) = checked.head {
            Self::remember_head(hosting, head);
        }
        let bytes = report.encoded_size() as u32;
        let record = Self::record(report, &expected, &checked, bytes)?;
        let demand = match record.outcome {
            ReportedOutcome::Failed { demand, .. } => demand,
            ReportedOutcome::Served(_) => None,
        };
        if demand.is_some() {
            Self::hold_deposit(&who)?;
        }
        tally.count(index, &record.outcome);
        Tallies::<T>::insert(id, tally);
        Self::deposit_event(Event::Reported {
            id,
            attestor: who.clone(),
            outcome: record.outcome.clone(),
        });
        Reports::<T>::insert(id, &who, record);
        if let Some(chunk) = demand {
            Self::demand(id, &mut challenge, &who, chunk);
        }

        let mut weight = Self::report_weight(report);
        if Self::is_complete(id, &challenge) {
            weight.saturating_accrue(Self::settlement_weight(challenge.members()));
            Self::settle(id, challenge, None);
        }
        Ok((Some(weight), Pays::No).into())
    }

    /// The challenge in phase Report, if it is; opens the phase when END has come and `on_poll` has
    /// not got to it yet.
    fn taking_reports(
        id: ChallengeId,
        challenge: Challenge<T::AccountId>,
    ) -> Result<Challenge<T::AccountId>, Error<T>> {
        match challenge.stage {
            Stage::Audit if Self::now() >= challenge.end_ms() => {
                Ok(Self::open_reports(id, challenge))
            }
            Stage::Flip | Stage::Commit { .. } | Stage::Audit => Err(Error::ReportsNotOpen),
            Stage::Report { deadline, .. }
                if !deadline.has_passed(Rooms::<T>::get(), Self::block()) =>
            {
                Ok(challenge)
            }
            Stage::Report { .. } | Stage::Closed { .. } => Err(Error::ReportsOver),
        }
    }

    /// What is kept of a report that passed.
    fn record(
        report: &Report,
        expected: &Expected,
        checked: &Checked,
        bytes: u32,
    ) -> Result<ReportRecord, Error<T>> {
        let outcome = match &report.body.outcome {
            Outcome::Served(served) => ReportedOutcome::Served(served_record(served)?),
            Outcome::Failed(failure) => ReportedOutcome::Failed {
                reason: failure.reason,
                demand: failure.demand,
            },
        };
        let opened = Opened {
            topic: expected.topic,
            result: expected.result,
            session_key: expected.session_key,
            w: report.w,
        };
        Ok(ReportRecord {
            block: Self::block(),
            extrinsic: frame_system::Pallet::<T>::extrinsic_index().unwrap_or_default(),
            bytes,
            w: report.w,
            audit_key: report.audit_key,
            moment_ms: checked.moment_ms,
            windowed: opened.habit().windowed,
            outcome,
            peers: report.body.peers.clone(),
        })
    }

    /// Remembers that the signature of a head was verified.
    pub(crate) fn remember_head(hosting: HostingId, head: Head) {
        VerifiedHeads::<T>::mutate(hosting, |heads| {
            if heads.contains(&head) {
                return;
            }
            if heads.is_full() {
                heads.remove(0);
            }
            heads
                .try_push(head)
                .defensive_proof("room was made")
                .unwrap_or_default();
        });
    }
}

impl Tally {
    /// Whether the member at this place has reported.
    pub const fn has(&self, index: usize) -> bool {
        self.reported & (1 << index) != 0
    }

    /// How many have reported.
    pub const fn reports(&self) -> u32 {
        self.reported.count_ones()
    }

    fn count(&mut self, index: usize, outcome: &ReportedOutcome) {
        self.reported |= 1 << index;
        match outcome {
            ReportedOutcome::Served(_) => self.served += 1,
            ReportedOutcome::Failed { .. } => self.failed += 1,
        }
    }
}

/// What the checks of a report by the member at `index` of the start roster, the one at `place`
/// among the active, need to know.
pub(crate) fn expected<AccountId: AsRef<[u8; 32]>>(
    challenge: &Challenge<AccountId>,
    flip: &Flip,
    index: usize,
    place: usize,
) -> Option<Expected> {
    let member = challenge.roster.get(index)?;
    let timing = &challenge.timing;
    Some(Expected {
        topic: flip.topic,
        result: flip.randomness,
        account: *member.account.as_ref(),
        session_key: member.session_key,
        z: *flip.commitments.get(place)?,
        members: challenge.roster.len() as u32,
        member: index as u32,
        active: flip.active.count_ones(),
        place: place as u32,
        hoster: challenge.noise_key,
        feed: challenge.feed,
        fork: challenge.fork,
        length: challenge.length,
        chunks: timing.chunks,
        proved: timing.proved,
        schedule: timing.schedule,
        window: timing.window(challenge.t0, flip.moments_from),
        clock_tolerance_ms: timing.clock_tolerance_ms,
    })
}

/// What is kept of a receipt and its metrics.
fn served_record<T>(served: &Served) -> Result<ServedRecord, Error<T>> {
    let (receipt, _) = Receipt::parse(&served.receipt).map_err(Error::from)?;
    Ok(ServedRecord {
        head: receipt.head,
        session: receipt.session,
        sequence: receipt.sequence,
        opened_ms: receipt.opened,
        issued_ms: receipt.issued,
        chunks: receipt.entries.len() as u32,
        proved: served.sizes.len() as u32,
        metrics: served.metrics.clone(),
    })
}

impl<T> From<ReportError> for Error<T> {
    fn from(error: ReportError) -> Self {
        match error {
            ReportError::WrongSecrets => Self::WrongSecrets,
            ReportError::WrongBinding => Self::WrongBinding,
            ReportError::WrongPeers => Self::WrongPeers,
            ReportError::DemandNotDrawn => Self::DemandNotDrawn,
            ReportError::Receipt(error) => error.into(),
            ReportError::OtherFeed => Self::ReceiptFeed,
            ReportError::OtherClient => Self::ReceiptClient,
            ReportError::OtherFork => Self::ReceiptFork,
            ReportError::TooShort => Self::ReceiptLength,
            ReportError::NotFirst => Self::ReceiptSequence,
            ReportError::WrongMoment => Self::ReceiptOpened,
            ReportError::IssuedTooEarly => Self::ReceiptIssued,
            ReportError::RepeatedEntry => Self::ReceiptRepeatsChunk,
            ReportError::TooFewEntries => Self::ReceiptTooFewChunks,
            ReportError::ChunkMissing => Self::ReceiptLacksChunk,
            ReportError::WrongHeadSignature => Self::HeadSignature,
            ReportError::Multiproof(error) => error.into(),
            ReportError::WrongTreeHash => Self::ProofTreeHash,
            ReportError::WrongMetrics => Self::WrongMetrics,
            ReportError::Moment(_) => Self::NoMoment,
        }
    }
}

impl<T> From<ReceiptError> for Error<T> {
    fn from(error: ReceiptError) -> Self {
        match error {
            ReceiptError::UnknownVersion => Self::ReceiptVersion,
            ReceiptError::TooManyEntries | ReceiptError::WrongLength => Self::ReceiptMalformed,
            ReceiptError::WrongSignature => Self::ReceiptSignature,
        }
    }
}

impl<T> From<MultiproofError> for Error<T> {
    fn from(error: MultiproofError) -> Self {
        match error {
            MultiproofError::SizeCount => Self::ProofSizes,
            MultiproofError::TooFewNodes | MultiproofError::TooManyNodes => Self::ProofNodes,
            MultiproofError::NotAscending
            | MultiproofError::OutOfRange
            | MultiproofError::Tree(_) => Self::ProofRange,
        }
    }
}
