//! Benchmarks of this pallet's calls and hooks, each in its worst case.
//!
//! Everything is made as on a real chain: 32 attestors, a hoster and a sponsor register, a
//! challenge starts by `on_poll`, its coinflip is anchored with real signatures. The tree of a feed
//! with 2²⁴ chunks is not: of a multiproof's nodes only the number matters, so they are made up, and
//! the author signs the head that they lead to.
//!
//! Those marked `extra` give no weight: they are the figures that `make bench-chain` holds against
//! its aims.

use alloc::{boxed::Box, format, vec, vec::Vec};
use codec::Encode;
use datdot_primitives::{
    answer::Answer,
    attempts::{index_of, mask, Attempt, MAX_ATTEMPTS},
    coinflip::{commitment_z, Opening},
    draws::{Opened, Schedule, MAX_ATTESTORS, MAX_CHUNKS},
    evidence::{self, Proof},
    head::Head,
    multiproof,
    receipt::{Entry, Receipt, MAX_ENTRIES},
    report::{
        binding_message, Body, Failure, Metrics, Observed, Outcome, PeerMetrics, Percentiles,
        Reason, Report, Served,
    },
    tree::{leaf_hash, runs, Node, Run},
    Hash,
};
use ed25519_zebra::SigningKey;
use frame::{
    benchmarking::prelude::*,
    deps::{
        frame_support::{traits::ConstU32, weights::WeightMeter},
        sp_core::RuntimeInterfaceLogLevel,
        sp_io,
    },
    traits::Hooks,
};
use pallet_hosting::{
    benchmarking::{accept, feed, parties, LENGTH},
    HostingId,
};
use pallet_providers::{
    benchmarking::{activate, fill_tasks, provider_account, provider_key, register, rich},
    Role,
};

use crate::{
    fixtures::{anchor_of, envelope, key, public, secret, sign, signed_receipt, Echoes, Openings},
    queue::MAX_PRUNED_FRAUDS,
    types::*,
    *,
};

/// The chain below the benchmarks: the pallets that this one runs with.
pub trait Chain:
    Config + pallet_hosting::Config + pallet_providers::Config + pallet_timestamp::Config<Moment = u64>
{
}

impl<T> Chain for T where
    T: Config
        + pallet_hosting::Config
        + pallet_providers::Config
        + pallet_timestamp::Config<Moment = u64>
{
}

/// When all challenges of these benchmarks start.
const T0: u64 = 1_700_000_000_000;
/// The longest feed that a tree can be computed of: its proofs have the most nodes.
const LONGEST: u64 = (1 << 63) - 1;
/// Entries of each agenda, and hostings in the queue, where one is looked for.
const CROWD: u64 = 1_000;

/// So many blocks in a row have nothing to do.
const IDLE_BLOCKS: u64 = 100;

/// Slots cost more than uniform moments, and all attempts of the coinflip have time.
fn timing(attestors: u32) -> Timing {
    Timing {
        flip_ms: 4_000_000,
        attestors,
        min_active: attestors,
        chunks: MAX_CHUNKS,
        proved: MAX_CHUNKS,
        pool_factor: 1,
        schedule: Schedule::Slots { num: 1, den: 4 },
        ..Timing::production()
    }
}

fn set_now<T: Chain>(ms: u64) {
    pallet_timestamp::Now::<T>::put(ms);
}

/// Goes on by one block; `on_initialize` of this pallet is done.
fn next_block<T: Chain>() {
    let next = System::<T>::block_number().saturating_add(One::one());
    System::<T>::set_block_number(next);
    Pallet::<T>::on_initialize(next);
}

fn poll<T: Chain>() {
    Pallet::<T>::on_poll(System::<T>::block_number(), &mut WeightMeter::new());
}

/// An attestor in the roster of the challenge, and its secrets.
struct Drawn<T: Chain> {
    account: T::AccountId,
    session: SigningKey,
    audit: SigningKey,
    w: Hash,
}

/// A challenge that has started, in the block after its start.
struct Scene<T: Chain> {
    id: ChallengeId,
    hosting: HostingId,
    hoster: T::AccountId,
    /// In roster order.
    drawn: Vec<Drawn<T>>,
}

/// A hosting whose challenge can start now, among so many attestors, as the hoster and the sponsor
/// are attestors too, and may not be drawn; the hosting and its hoster.
fn ready<T: Chain>(attestors: u32) -> (HostingId, T::AccountId) {
    CurrentTiming::<T>::put(timing(attestors));
    set_now::<T>(T0);
    for index in 0..attestors {
        register::<T>(Role::Attestor, index);
    }
    let (sponsor, hoster) = parties::<T>();
    for (index, who) in [&sponsor, &hoster].into_iter().enumerate() {
        let index = attestors + index as u32;
        pallet_providers::benchmarking::register_account::<T>(Role::Attestor, index, who);
    }
    activate::<T>();
    let hosting = accept::<T>(&sponsor, &hoster);
    next_block::<T>();
    (hosting, hoster)
}

impl<T: Chain> Scene<T> {
    /// A challenge with so many attestors.
    fn start(attestors: u32) -> Self {
        let (hosting, hoster) = ready::<T>(attestors);
        poll::<T>();
        next_block::<T>();
        let id = Running::<T>::get(hosting).expect("a challenge started");
        let known: Vec<(T::AccountId, u32)> = (0..attestors)
            .map(|index| (provider_account::<T>(Role::Attestor, index), index))
            .collect();
        let roster = Challenges::<T>::get(id).expect("it is there").roster;
        let drawn = roster
            .into_iter()
            .map(|member| {
                let (account, index) = known
                    .iter()
                    .find(|(account, _)| *account == member.account)
                    .cloned()
                    .expect("only attestors are drawn");
                Drawn {
                    account,
                    session: provider_key(Role::Attestor, index),
                    audit: key(("audit", index)),
                    w: secret(("w", index)),
                }
            })
            .collect();
        Self {
            id,
            hosting,
            hoster,
            drawn,
        }
    }

    /// The last attempt that there can be, from now on, which is in time for its anchor.
    fn last_attempt(&self) -> Attempt {
        let challenge = Challenges::<T>::get(self.id).expect("it is there");
        let flipping = Pallet::<T>::flipping(self.id, &challenge);
        let Ok(flipping) = flipping else {
            panic!("the start hash is known");
        };
        let attempt = flipping.attempt(MAX_ATTEMPTS - 1);
        let attempt = attempt.expect("there is time for all attempts");
        set_now::<T>(attempt.end_ms);
        attempt
    }

    /// The anchor of an honest run of an attempt with all members.
    fn anchor(&self, attempt: &Attempt) -> (Openings, Echoes) {
        let members: Vec<(SigningKey, Opening)> = self
            .drawn
            .iter()
            .enumerate()
            .map(|(place, one)| {
                let session = public(&one.session);
                let opening = Opening {
                    z: commitment_z(&attempt.topic, &session, &one.w, &public(&one.audit)),
                    salt: secret(("salt", place as u32)),
                    x: secret(("x", place as u32)),
                };
                (one.session, opening)
            })
            .collect();
        anchor_of(&attempt.topic, &members)
    }

    /// A challenge with so many attestors whose coinflip is anchored, by the first member.
    fn anchored(attestors: u32) -> Self {
        let scene = Self::start(attestors);
        let attempt = scene.last_attempt();
        let (openings, echoes) = scene.anchor(&attempt);
        let by = RawOrigin::Signed(scene.drawn[0].account.clone());
        let anchored =
            Pallet::<T>::anchor_flip(by.into(), scene.id, attempt.number, openings, echoes);
        assert!(anchored.is_ok(), "an honest anchor is taken");
        scene
    }

    /// The same at END, before `on_poll` got to it, with heads that were verified before.
    fn reporting(attestors: u32) -> Self {
        let scene = Self::anchored(attestors);
        let challenge = Challenges::<T>::get(scene.id).expect("it is there");
        set_now::<T>(challenge.end_ms());
        let heads: Vec<Head> = (0..u64::from(MAX_HEADS))
            .map(|length| Head {
                fork: 0,
                length,
                tree_hash: [7; 32],
            })
            .collect();
        VerifiedHeads::<T>::insert(scene.hosting, BoundedVec::truncate_from(heads));
        scene
    }

    /// Says how long the feed is that was vouched for, and how many chunks are proved.
    fn vouch(&self, length: u64, proved: u32) {
        Challenges::<T>::mutate_extant(self.id, |challenge| {
            challenge.length = length;
            challenge.timing.proved = proved;
        });
    }

    fn opened(&self, place: usize) -> Opened {
        let flip = Flips::<T>::get(self.id).expect("it is anchored");
        Opened {
            topic: flip.topic,
            result: flip.randomness,
            session_key: public(&self.drawn[place].session),
            w: self.drawn[place].w,
        }
    }

    /// The member and the length of the feed with which a report that proves all its chunks has so
    /// many leaves and nodes.
    fn with_parts(&self, parts: u32) -> Result<(usize, u64), BenchmarkError> {
        let opened: Vec<Opened> = (0..self.drawn.len())
            .map(|place| self.opened(place))
            .collect();
        let parts_of = |place: usize, length: u64| {
            let mut drawn = opened[place].drawn_chunks(length, MAX_CHUNKS);
            drawn.sort_unstable();
            drawn.len() as u32 + nodes_beside(length, &drawn)
        };
        // They grow with the length, up to the luck of the draw.
        let (mut low, mut high) = (u64::from(MAX_CHUNKS), pallet_hosting::MAX_LENGTH);
        while high - low > low / 64 + 1 {
            let middle = low + (high - low) / 2;
            if parts_of(0, middle) < parts {
                low = middle;
            } else {
                high = middle;
            }
        }
        for step in 0..200 {
            let up = low.saturating_add(step * (low / 512 + 1));
            let down = low.saturating_sub(step * (low / 512 + 1));
            for length in [up, down.max(MAX_CHUNKS.into())] {
                for place in 0..opened.len() {
                    if parts_of(place, length) == parts {
                        return Ok((place, length));
                    }
                }
            }
        }
        Err("no feed's proof has so many parts".into())
    }

    /// The figures of all fellow attestors.
    fn peers(&self, place: usize) -> BoundedVec<PeerMetrics, ConstU32<31>> {
        let peers: Vec<PeerMetrics> = (0..self.drawn.len())
            .filter(|peer| *peer != place)
            .map(|peer| PeerMetrics {
                index: peer as u8,
                rtt_p50_us: 300,
                throughput: 1_000_000 + peer as u64,
            })
            .collect();
        peers.try_into().expect("it fits")
    }

    fn bind(&self, place: usize, outcome: Outcome) -> Report {
        let one = &self.drawn[place];
        let body = Body {
            outcome,
            peers: self.peers(place),
        };
        let topic = self.opened(place).topic;
        let message = binding_message(&topic, one.account.as_ref(), &body);
        Report {
            w: one.w,
            audit_key: public(&one.audit),
            binding: sign(&one.audit, &message),
            body,
        }
    }

    /// The report of the member at this place, which was served; its receipt has so many entries.
    fn served(&self, place: usize, entries: u32) -> Report {
        let challenge = Challenges::<T>::get(self.id).expect("it is there");
        let flip = Flips::<T>::get(self.id).expect("it is anchored");
        let (opened, timing) = (self.opened(place), challenge.timing);
        let moment = opened.moment(
            timing.schedule,
            timing.window(challenge.t0, flip.moments_from),
            index_of(flip.active, place).expect("it is active") as u32,
            flip.active.count_ones(),
        );
        let moment = moment.expect("there is a moment");
        let leaf = |index: u64| leaf_hash(&index.to_le_bytes());
        let mut served = opened.drawn_chunks(challenge.length, timing.chunks);
        let mut proved = served[..timing.proved as usize].to_vec();
        proved.sort_unstable();
        let (head, sizes, nodes) = made_up(challenge.length, &proved, leaf);
        // Those after the drawn ones; they are not looked up.
        served.extend((0..u64::from(entries) - served.len() as u64).map(|more| u64::MAX - more));
        let receipt = Receipt {
            feed: challenge.feed.key,
            head,
            client: public(&self.drawn[place].audit),
            session: secret(("session", place as u32)),
            sequence: 0,
            opened: moment,
            issued: moment,
            bytes: 1,
            entries: served
                .into_iter()
                .map(|index| Entry {
                    index,
                    leaf: leaf(index),
                })
                .collect(),
        };
        let receipt = signed_receipt(receipt.body(), &provider_key(Role::Hoster, 0));
        let outcome = Outcome::Served(Served {
            receipt: receipt.try_into().expect("it fits"),
            head_signature: sign(&key("author"), &challenge.feed.signable(&head)),
            sizes: sizes.try_into().expect("it fits"),
            nodes: nodes.try_into().expect("it fits"),
            metrics: metrics(opened.habit().windowed),
        });
        self.bind(place, outcome)
    }

    /// Of the reports of all members on a feed of this length, with so many chunks proved, the one of
    /// middle size, and whose it is. Tells its size and that of the largest.
    fn ordinary_report(&self, what: &str, length: u64, proved: u32) -> (T::AccountId, Report) {
        self.vouch(length, proved);
        let mut reports: Vec<(T::AccountId, Report)> = (0..self.drawn.len())
            .map(|place| {
                let report = self.served(place, MAX_CHUNKS);
                (self.drawn[place].account.clone(), report)
            })
            .collect();
        reports.sort_by_key(|(_, report)| report.encoded_size());
        let size_at = |place: usize| reports[place].1.encoded_size();
        tell(what, size_at(reports.len() / 2));
        tell(&format!("{what}_most"), size_at(reports.len() - 1));
        reports.swap_remove(reports.len() / 2)
    }

    /// The report of the member at this place, which was not served and demands a chunk.
    fn failed(&self, place: usize) -> Report {
        let length = Challenges::<T>::get(self.id).expect("it is there").length;
        let drawn = self.opened(place).drawn_chunks(length, MAX_CHUNKS);
        let failure = Failure {
            reason: Reason::Timeout,
            demand: drawn.last().copied(),
        };
        self.bind(place, Outcome::Failed(failure))
    }

    fn submit(&self, place: usize, report: Report) {
        let by = RawOrigin::Signed(self.drawn[place].account.clone());
        let taken = Pallet::<T>::submit_report(by.into(), self.id, Box::new(report));
        assert!(taken.is_ok(), "an honest report is taken");
    }

    /// All demand a chunk, and nothing is answered; except for the member at this place.
    fn demand_all_but(&self, except: Option<usize>) {
        for place in 0..self.drawn.len() {
            if Some(place) != except {
                self.submit(place, self.failed(place));
            }
        }
    }

    /// After this, `close_challenge` settles.
    fn wait(&self) {
        Rooms::<T>::put(u64::MAX / 2);
    }

    /// The hosting and its hoster have as long a history as is kept, in which each figure differs.
    fn remember(&self) {
        for number in 0..MAX_HISTORY {
            let entry = HosterEntry {
                challenge: self.id,
                outcome: Verdict::Passed,
                latency_p50_us: Some(100 + number),
                throughput: Some(u64::from(100 + number)),
            };
            Pallet::<T>::note_performance(&self.hoster, entry);
        }
        let entry = HistoryEntry {
            challenge: self.id,
            outcome: Verdict::Passed,
            medians: Medians::default(),
        };
        let history = vec![entry; MAX_HISTORY as usize];
        History::<T>::insert(self.hosting, BoundedVec::truncate_from(history));
    }
}

/// Figures of a session, all that there can be.
fn metrics(windowed: bool) -> Metrics {
    Metrics {
        connect_us: 1,
        handshake_us: 2,
        first_chunk_us: 3,
        latency_us: (!windowed).then_some(Percentiles {
            p50: 4,
            p90: 5,
            p99: 6,
            max: 7,
        }),
        throughput: windowed.then_some(1_000_007),
        timeouts: 0,
        observed: Some(Observed {
            chunks: 8,
            latency_p50_us: 9,
            throughput: 10,
        }),
    }
}

/// How many nodes the multiproof of these chunks, ascending, has beside their leaves.
fn nodes_beside(length: u64, chunks: &[u64]) -> u32 {
    fn below(run: Run, chunks: &[u64]) -> u32 {
        if chunks.is_empty() {
            return 1;
        }
        run.halves().map_or(0, |(left, right)| {
            let split = chunks.partition_point(|chunk| *chunk < left.end());
            below(left, &chunks[..split]) + below(right, &chunks[split..])
        })
    }
    let mut rest = chunks;
    let mut count = 0;
    for run in runs(length).expect("the feed is not too long") {
        let (inside, after) = rest.split_at(rest.partition_point(|chunk| *chunk < run.end()));
        count += below(run, inside);
        rest = after;
    }
    count
}

/// A head of which these chunks, ascending, can be proved, with the proof's sizes and nodes.
fn made_up(length: u64, chunks: &[u64], leaf: impl Fn(u64) -> Hash) -> (Head, Vec<u32>, Vec<Node>) {
    let sizes = vec![1; chunks.len()];
    proof_of_sizes(length, chunks, sizes, leaf)
}

/// The same, with these sizes of the chunks.
fn proof_of_sizes(
    length: u64,
    chunks: &[u64],
    sizes: Vec<u32>,
    leaf: impl Fn(u64) -> Hash,
) -> (Head, Vec<u32>, Vec<Node>) {
    let node = Node {
        hash: [6; 32],
        size: 1,
    };
    let nodes = vec![node; nodes_beside(length, chunks) as usize];
    let leaves: Vec<(u64, Hash)> = chunks.iter().map(|index| (*index, leaf(*index))).collect();
    let tree_hash = multiproof::tree_hash_of(length, &leaves, &sizes, &nodes);
    let head = Head {
        fork: 0,
        length,
        tree_hash: tree_hash.expect("the proof is one"),
    };
    (head, sizes, nodes)
}

/// Tells who runs the benchmark how large something is.
fn tell(what: &str, bytes: usize) {
    let line = format!("{what} {bytes}");
    sp_io::logging::log(
        RuntimeInterfaceLogLevel::Info,
        "datdot::bytes",
        line.as_bytes(),
    );
}

#[benchmarks(where T: Chain)]
mod benches {
    use super::*;

    #[benchmark]
    fn set_timing() -> Result<(), BenchmarkError> {
        let timing = Timing {
            grace_blocks: 7,
            ..CurrentTiming::<T>::get()
        };

        #[extrinsic_call]
        _(RawOrigin::Root, timing);

        assert_eq!(CurrentTiming::<T>::get(), timing);
        Ok(())
    }

    /// The last of the attempts that there can be, with `n` members.
    #[benchmark]
    fn anchor_flip(n: Linear<1, MAX_ATTESTORS>) -> Result<(), BenchmarkError> {
        let scene = Scene::<T>::start(n);
        let attempt = scene.last_attempt();
        let (openings, echoes) = scene.anchor(&attempt);
        let by = RawOrigin::Signed(scene.drawn[0].account.clone());

        #[extrinsic_call]
        _(by, scene.id, attempt.number, openings, echoes);

        assert!(Flips::<T>::contains_key(scene.id));
        Ok(())
    }

    #[benchmark]
    fn anchor_flip_late() -> Result<(), BenchmarkError> {
        let scene = Scene::<T>::anchored(MAX_ATTESTORS);
        let flip = Flips::<T>::get(scene.id).ok_or("it is anchored")?;
        let opening = Opening {
            z: [1; 32],
            salt: [2; 32],
            x: [3; 32],
        };
        let openings: Openings = vec![opening; MAX_ATTESTORS as usize]
            .try_into()
            .map_err(|_| "it fits")?;
        let echoes: Echoes = vec![[4; 64]; MAX_ATTESTORS as usize]
            .try_into()
            .map_err(|_| "it fits")?;
        let by = RawOrigin::Signed(scene.drawn[1].account.clone());

        #[extrinsic_call]
        anchor_flip(by, scene.id, flip.attempt, openings, echoes);

        assert!(Flips::<T>::get(scene.id).is_some_and(|flip| flip.late != 0));
        Ok(())
    }

    /// After all others.
    #[benchmark]
    fn commit_flip() -> Result<(), BenchmarkError> {
        let scene = Scene::<T>::start(MAX_ATTESTORS);
        let challenge = Challenges::<T>::get(scene.id).ok_or("it is there")?;
        set_now::<T>(challenge.flip_end_ms());
        Pallet::<T>::open_commits(scene.id, challenge);
        for one in &scene.drawn[1..] {
            let by = RawOrigin::Signed(one.account.clone());
            Pallet::<T>::commit_flip(by.into(), scene.id, [5; 32]).map_err(|error| error.error)?;
        }
        let by = RawOrigin::Signed(scene.drawn[0].account.clone());

        #[extrinsic_call]
        _(by, scene.id, [5; 32]);

        let fallback = Fallbacks::<T>::get(scene.id).ok_or("it falls back")?;
        assert_eq!(fallback.commits.len() as u32, MAX_ATTESTORS);
        Ok(())
    }

    /// With 100 chunks proved, by `p` leaves and nodes in all; the first report, which finds the
    /// phase not open yet, with a head that is new.
    #[benchmark]
    fn submit_report(p: Linear<128, 4_196>) -> Result<(), BenchmarkError> {
        let scene = Scene::<T>::reporting(MAX_ATTESTORS);
        let (place, length) = scene.with_parts(p)?;
        scene.vouch(length, MAX_CHUNKS);
        let report = scene.served(place, MAX_ENTRIES);
        let by = RawOrigin::Signed(scene.drawn[place].account.clone());

        #[extrinsic_call]
        _(by, scene.id, Box::new(report));

        assert_eq!(Tallies::<T>::get(scene.id).served, 1);
        Ok(())
    }

    /// With a demand, after those of all others.
    #[benchmark]
    fn submit_failure() -> Result<(), BenchmarkError> {
        let scene = Scene::<T>::reporting(MAX_ATTESTORS);
        scene.demand_all_but(Some(0));
        let report = scene.failed(0);
        let by = RawOrigin::Signed(scene.drawn[0].account.clone());

        #[extrinsic_call]
        submit_report(by, scene.id, Box::new(report));

        assert_eq!(Tallies::<T>::get(scene.id).failed, MAX_ATTESTORS);
        Ok(())
    }

    /// With a chunk of `b` bytes of the longest feed, while all others wait for theirs.
    #[benchmark]
    fn answer_demand(b: Linear<0, 131_072>) -> Result<(), BenchmarkError> {
        let scene = Scene::<T>::reporting(MAX_ATTESTORS);
        scene.demand_all_but(None);
        let one = &scene.drawn[0];
        let demand = Demands::<T>::get(scene.id, &one.account).ok_or("it demands")?;
        let feed = Challenges::<T>::get(scene.id).ok_or("it is there")?.feed;
        let bytes = vec![8; b as usize];
        let leaf = leaf_hash(&bytes);
        let (head, sizes, nodes) = proof_of_sizes(LONGEST, &[demand.chunk], vec![b], |_| leaf);
        let answer = Answer::Chunk {
            bytes: bytes.try_into().map_err(|_| "it fits")?,
            length: LONGEST,
            head_signature: sign(&key("author"), &feed.signable(&head)),
            sizes: sizes.try_into().map_err(|_| "it fits")?,
            nodes: nodes.try_into().map_err(|_| "it fits")?,
        };
        let by = RawOrigin::Signed(scene.hoster.clone());

        #[extrinsic_call]
        _(by, scene.id, one.account.clone(), Box::new(answer));

        let demand = Demands::<T>::get(scene.id, &one.account).ok_or("it demands")?;
        assert!(demand.state != DemandState::Open);
        Ok(())
    }

    /// In the last of the attempts that there can be, with all others expelled since.
    #[benchmark]
    fn report_fraud() -> Result<(), BenchmarkError> {
        let scene = Scene::<T>::start(MAX_ATTESTORS);
        let attempt = scene.last_attempt();
        let expulsions: Vec<Expulsion> = (1..MAX_ATTESTORS)
            .map(|place| Expulsion {
                place: place as u8,
                timestamp_ms: attempt.end_ms,
                block: 1,
            })
            .collect();
        Expulsions::<T>::insert(scene.id, PerMember::truncate_from(expulsions));
        let by = &scene.drawn[0].session;
        let echo = |root| envelope(&attempt.topic, 0, &evidence::Body::Echo(root), by);
        let proof = Proof::Equivocation {
            id: scene.id,
            attempt: attempt.number,
            a: echo([1; 32]),
            b: echo([2; 32]),
        };
        let reporter = rich::<T>("reporter", 0);

        #[extrinsic_call]
        _(RawOrigin::Signed(reporter), Box::new(proof));

        assert_eq!(Expulsions::<T>::get(scene.id).len() as u32, MAX_ATTESTORS);
        Ok(())
    }

    /// The longest receipt for the longest feed, while older ones are to be forgotten.
    #[benchmark]
    fn report_false_receipt() -> Result<(), BenchmarkError> {
        set_now::<T>(T0);
        let (_, hoster) = parties::<T>();
        let reporter = rich::<T>("reporter", 0);
        for number in 0..4u64 {
            let evidence = secret(number);
            let fraud = Fraud {
                offender: hoster.clone(),
                proof: evidence::FraudKind::FalseReceipt,
                reporter: reporter.clone(),
                block: 1,
                slashed: 1,
                reward: 1,
            };
            FalseReceipts::<T>::insert(evidence, fraud);
            ReceiptsToForget::<T>::insert(Forgetting::new(number, evidence), ());
        }
        let noise = provider_key(Role::Hoster, 0);
        let (head, sizes, nodes) = made_up(LONGEST, &[0], |_| [1; 32]);
        let receipt = Receipt {
            feed: feed().0,
            head,
            client: [2; 32],
            session: [3; 32],
            sequence: 0,
            opened: T0,
            issued: T0,
            bytes: 1,
            entries: (0..u64::from(MAX_ENTRIES))
                .map(|entry| Entry {
                    index: u64::from(MAX_ENTRIES) - 1 - entry,
                    leaf: [4; 32],
                })
                .collect(),
        };
        let receipt = signed_receipt(receipt.body(), &noise);
        let proof = Proof::FalseReceipt {
            hoster: public(&noise),
            receipt: receipt.try_into().map_err(|_| "it fits")?,
            index: 0,
            leaf: [1; 32],
            sizes: sizes.try_into().map_err(|_| "it fits")?,
            nodes: nodes.try_into().map_err(|_| "it fits")?,
        };

        #[extrinsic_call]
        report_fraud(RawOrigin::Signed(reporter), Box::new(proof));

        assert_eq!(FalseReceipts::<T>::iter().count(), 3);
        Ok(())
    }

    /// All `n` were served, and have measured everything.
    #[benchmark]
    fn settle_served(n: Linear<2, MAX_ATTESTORS>) -> Result<(), BenchmarkError> {
        let scene = Scene::<T>::reporting(n);
        scene.submit(0, scene.served(0, MAX_ENTRIES));
        let first = Reports::<T>::get(scene.id, &scene.drawn[0].account);
        let first = first.ok_or("it has reported")?;
        for (place, one) in scene.drawn.iter().enumerate() {
            let mut record = first.clone();
            record.peers = scene.peers(place);
            if let ReportedOutcome::Served(served) = &mut record.outcome {
                served.metrics = metrics(place % 2 == 0);
            }
            Reports::<T>::insert(scene.id, &one.account, record);
        }
        let tally = Tally {
            reported: mask(n as usize),
            served: n,
            failed: 0,
        };
        Tallies::<T>::insert(scene.id, tally);
        scene.remember();
        let closer = rich::<T>("closer", 0);

        #[extrinsic_call]
        close_challenge(RawOrigin::Signed(closer), scene.id);

        let settlement = Settlements::<T>::get(scene.id).ok_or("it is settled")?;
        assert_eq!(settlement.outcome, Verdict::Passed);
        assert_eq!(settlement.paid.len() as u32, n + 1);
        Ok(())
    }

    /// All `n` demand what the hoster withholds, which ends the hosting.
    #[benchmark]
    fn settle_unanswered(n: Linear<1, MAX_ATTESTORS>) -> Result<(), BenchmarkError> {
        let scene = Scene::<T>::reporting(n);
        scene.demand_all_but(None);
        scene.remember();
        scene.wait();
        let closer = rich::<T>("closer", 0);

        #[extrinsic_call]
        close_challenge(RawOrigin::Signed(closer), scene.id);

        let settlement = Settlements::<T>::get(scene.id).ok_or("it is settled")?;
        assert_eq!(settlement.outcome, Verdict::Failed);
        assert!(settlement.slashed > 0);
        Ok(())
    }

    /// All `n` are absent, for the second time in a row, and there is hardly room for their tasks.
    #[benchmark]
    fn settle_absent(n: Linear<1, MAX_ATTESTORS>) -> Result<(), BenchmarkError> {
        let scene = Scene::<T>::reporting(n);
        poll::<T>();
        for one in &scene.drawn {
            pallet_providers::Providers::<T>::mutate(Role::Attestor, &one.account, |provider| {
                if let Some(provider) = provider {
                    provider.absences = 1;
                }
            });
        }
        let min_age = <T as pallet_providers::Config>::MinAge::get();
        fill_tasks::<T>(min_age.max(One::one()));
        scene.remember();
        scene.wait();
        let closer = rich::<T>("closer", 0);

        #[extrinsic_call]
        close_challenge(RawOrigin::Signed(closer), scene.id);

        let settlement = Settlements::<T>::get(scene.id).ok_or("it is settled")?;
        assert_eq!(settlement.absent.len() as u32, n);
        Ok(())
    }

    /// After `s` challenges started.
    #[benchmark]
    fn on_initialize(s: Linear<0, { T::MaxStarts::get() }>) -> Result<(), BenchmarkError> {
        let started: Vec<ChallengeId> = (0..s.into()).collect();
        Started::<T>::put(BoundedVec::truncate_from(started));
        let block = System::<T>::block_number();

        #[block]
        {
            Pallet::<T>::on_initialize(block);
        }

        assert_eq!(StartHashes::<T>::iter().count() as u32, s);
        Ok(())
    }

    #[benchmark]
    fn on_finalize() -> Result<(), BenchmarkError> {
        let block = System::<T>::block_number();

        #[block]
        {
            Pallet::<T>::on_finalize(block);
        }

        assert_eq!(Rooms::<T>::get(), 1);
        Ok(())
    }

    /// What each block pays: nothing is due, and the hosting that waits can not start yet.
    #[benchmark]
    fn on_poll() -> Result<(), BenchmarkError> {
        let (hosting, _) = ready::<T>(MAX_ATTESTORS);
        let block = System::<T>::block_number();
        pallet_providers::EligibleChangedAt::<T>::put(block);
        // After that, nobody needs to look at the agendas.
        poll::<T>();

        #[block]
        {
            poll::<T>();
        }

        assert!(Waiting::<T>::contains_key(hosting));
        assert_eq!(NextLook::<T>::get().block, u64::MAX);
        Ok(())
    }

    /// One look at an agenda on which nothing is due.
    #[benchmark]
    fn look() -> Result<(), BenchmarkError> {
        for id in 0..CROWD {
            Agenda::<T>::insert(Clock::Time, Place::new(T0 + id, id), ());
        }
        let due;

        #[block]
        {
            due = Pallet::<T>::look(Clock::Time, T0 - 1);
        }

        assert!(due.is_none());
        assert_eq!(NextLook::<T>::get().time, T0);
        Ok(())
    }

    /// The draw of `n` attestors; the hoster and the sponsor are beside them, and may not be drawn.
    #[benchmark]
    fn start(n: Linear<1, MAX_ATTESTORS>) -> Result<(), BenchmarkError> {
        let (hosting, _) = ready::<T>(n);

        #[block]
        {
            poll::<T>();
        }

        assert!(Running::<T>::contains_key(hosting));
        Ok(())
    }

    #[benchmark]
    fn open_commits() -> Result<(), BenchmarkError> {
        let scene = Scene::<T>::start(MAX_ATTESTORS);
        let challenge = Challenges::<T>::get(scene.id).ok_or("it is there")?;
        set_now::<T>(challenge.flip_end_ms());

        #[block]
        {
            poll::<T>();
        }

        assert!(Fallbacks::<T>::contains_key(scene.id));
        Ok(())
    }

    /// All have committed, and the randomness can be had.
    #[benchmark]
    fn end_commits() -> Result<(), BenchmarkError> {
        let scene = Scene::<T>::start(MAX_ATTESTORS);
        let challenge = Challenges::<T>::get(scene.id).ok_or("it is there")?;
        let timing = challenge.timing;
        set_now::<T>(challenge.flip_end_ms());
        poll::<T>();
        for one in &scene.drawn {
            let by = RawOrigin::Signed(one.account.clone());
            Pallet::<T>::commit_flip(by.into(), scene.id, [5; 32]).map_err(|error| error.error)?;
        }
        set_now::<T>(challenge.flip_end_ms() + timing.commit_ms);
        let block = System::<T>::block_number().saturating_add(timing.commit_blocks.into());
        System::<T>::set_block_number(block);

        #[block]
        {
            poll::<T>();
        }

        assert!(Flips::<T>::contains_key(scene.id));
        Ok(())
    }

    #[benchmark]
    fn open_reports() -> Result<(), BenchmarkError> {
        let scene = Scene::<T>::reporting(MAX_ATTESTORS);

        #[block]
        {
            poll::<T>();
        }

        let challenge = Challenges::<T>::get(scene.id).ok_or("it is there")?;
        assert!(matches!(challenge.stage, Stage::Report { .. }));
        Ok(())
    }

    /// With `n` attestors, and as many frauds as are removed at once, but one, so that the challenge goes too.
    #[benchmark]
    fn prune(n: Linear<1, MAX_ATTESTORS>) -> Result<(), BenchmarkError> {
        let scene = Scene::<T>::reporting(n);
        scene.demand_all_but(None);
        for number in 1..MAX_PRUNED_FRAUDS as u64 {
            let fraud = Fraud {
                offender: scene.hoster.clone(),
                proof: evidence::FraudKind::Equivocation,
                reporter: scene.hoster.clone(),
                block: 1,
                slashed: 1,
                reward: 1,
            };
            Frauds::<T>::insert(scene.id, secret(number), fraud);
        }
        scene.wait();
        let closer = rich::<T>("closer", 0);
        Pallet::<T>::close_challenge(RawOrigin::Signed(closer).into(), scene.id)
            .map_err(|error| error.error)?;
        let unbonding = <T as Config>::UnbondingBlocks::get();
        let block = System::<T>::block_number().saturating_add(unbonding.into());
        System::<T>::set_block_number(block);

        #[block]
        {
            poll::<T>();
        }

        assert!(!Challenges::<T>::contains_key(scene.id));
        assert_eq!(Frauds::<T>::iter_prefix(scene.id).count(), 0);
        Ok(())
    }

    /// 32 of 100 chunks out of 4,096 are proved.
    #[benchmark(extra)]
    fn aim_report_32_of_4096() -> Result<(), BenchmarkError> {
        let scene = Scene::<T>::reporting(Timing::production().attestors);
        let (by, report) = scene.ordinary_report("aim_report_32_of_4096", LENGTH, 32);

        #[extrinsic_call]
        submit_report(RawOrigin::Signed(by), scene.id, Box::new(report));

        assert_eq!(Tallies::<T>::get(scene.id).served, 1);
        Ok(())
    }

    /// 32 of 100 chunks out of 2²⁴ are proved.
    #[benchmark(extra)]
    fn aim_report_32_of_16777216() -> Result<(), BenchmarkError> {
        let scene = Scene::<T>::reporting(Timing::production().attestors);
        let (by, report) = scene.ordinary_report("aim_report_32_of_16777216", 1 << 24, 32);

        #[extrinsic_call]
        submit_report(RawOrigin::Signed(by), scene.id, Box::new(report));

        assert_eq!(Tallies::<T>::get(scene.id).served, 1);
        Ok(())
    }

    /// All 100 chunks out of 4,096 are proved.
    #[benchmark(extra)]
    fn aim_report_100_of_4096() -> Result<(), BenchmarkError> {
        let scene = Scene::<T>::reporting(Timing::production().attestors);
        let (by, report) = scene.ordinary_report("aim_report_100_of_4096", LENGTH, MAX_CHUNKS);

        #[extrinsic_call]
        submit_report(RawOrigin::Signed(by), scene.id, Box::new(report));

        assert_eq!(Tallies::<T>::get(scene.id).served, 1);
        Ok(())
    }

    /// Nothing is due in a hundred blocks with `h` hostings, which all wait for attestors, and as many
    /// challenges on each agenda. There is other state instead of those that are fewer than 10,000: a
    /// larger state is slower to read anyway.
    #[benchmark(extra)]
    fn aim_idle_blocks(h: Linear<10, 10_000>) -> Result<(), BenchmarkError> {
        CurrentTiming::<T>::put(timing(MAX_ATTESTORS));
        set_now::<T>(T0);
        let (sponsor, hoster) = parties::<T>();
        for hosting in 0..u64::from(h) {
            accept::<T>(&sponsor, &hoster);
            for clock in [Clock::Time, Clock::Rooms, Clock::Blocks] {
                Agenda::<T>::insert(clock, Place::new(u64::MAX - hosting, hosting), ());
            }
        }
        for missing in u64::from(h)..10_000 {
            for entry in 0..8u64 {
                let key = (b"something else..", secret((missing, entry))).encode();
                frame::deps::frame_support::storage::unhashed::put_raw(&key, &[1; 40]);
            }
        }
        next_block::<T>();
        // An earlier block has looked when something will be due.
        poll::<T>();
        let mut block = System::<T>::block_number();
        let parent = System::<T>::parent_hash();

        #[block]
        {
            for later in 1..=IDLE_BLOCKS {
                block = block.saturating_add(One::one());
                System::<T>::initialize(&block, &parent, &Default::default());
                pallet_providers::Pallet::<T>::on_initialize(block);
                Pallet::<T>::on_initialize(block);
                set_now::<T>(T0 + later);
                poll::<T>();
                Pallet::<T>::on_finalize(block);
                // With the root of the state, as a block has it.
                System::<T>::finalize();
            }
        }

        assert_eq!(Waiting::<T>::iter().count() as u32, h);
        Ok(())
    }

    impl_benchmark_test_suite!(
        Pallet,
        crate::mock::new_test_ext(Timing::development()),
        crate::mock::Test,
        // The crowd of an idle block takes a minute to make.
        extra = false
    );
}
