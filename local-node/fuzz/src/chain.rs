//! Sequences of calls by honest and dishonest accounts, and of blocks, on the runtime of the tests
//! with all three pallets. After each block everything that must hold is checked, and the state is
//! compared with [`Model`], which knows the rules of the money and the phases and learns the rest
//! from events.

use crate::model::{Model, Seen};
use codec::{Decode, Encode};
use datdot_primitives::{
    answer::Answer,
    draws::Schedule,
    evidence::{Body, Proof},
    registration,
    report::Report,
};
use frame::{deps::sp_runtime::traits::Dispatchable, testing_prelude::*};
use pallet_hosting::{HostingsById, Sla, Terms};
use pallet_performance::{
    mock::*, Challenge, ChallengeId, Challenges, Fallbacks, Flips, Stage, StartHashes, Timing,
};
use pallet_providers::Role;

/// No input makes more moves than this.
const MAX_MOVES: usize = 400;
/// Attestors that are registered at the start; the other ones may register.
const REGISTERED: u8 = 8;

type ProvidersCall = pallet_providers::Call<Test>;
type HostingCall = pallet_hosting::Call<Test>;
type PerformanceCall = pallet_performance::Call<Test>;

/// Bytes that choose. Once they are used up there are only zeros.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn below(&mut self, bound: u8) -> u8 {
        self.byte() % bound
    }

    /// Up to so many bytes as they are.
    fn bytes(&mut self, most: usize) -> &[u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// The target: makes the moves that the bytes encode. Panics if the chain does what it must not.
pub fn calls(data: &[u8]) {
    run(data);
}

/// The same; what happened.
pub fn run(data: &[u8]) -> Seen {
    let mut choices = Choices(data);
    let timing = match choices.below(4) {
        0 | 1 => Timing::development(),
        2 => retrying(),
        _ => Timing {
            schedule: Schedule::Slots { num: 1, den: 5 },
            ..Timing::development()
        },
    };
    KnownSince::set(None);
    let mut state = new_test_ext(timing);
    state.execute_with(|| {
        let mut model = Model::new();
        register_hoster();
        for number in 1..=REGISTERED {
            register_attestor(number, 4);
        }
        let publish = Hosting::publish_feed(origin(SPONSOR), feed().key, Some(manifest()));
        assert_ok!(publish);
        end_block(&mut model);
        blocks(1);
        for escrow in [2 * COST + 7, 100 * COST] {
            open_hosting(escrow);
        }
        for _ in 0..MAX_MOVES {
            if choices.0.is_empty() {
                break;
            }
            make_move(&mut choices, &mut model);
        }
        end_block(&mut model);
        // Whatever was done, what is open comes to an end by itself.
        let open = Challenges::<Test>::iter().filter(|(_, challenge)| challenge.is_open());
        let open: Vec<ChallengeId> = open.map(|(id, _)| id).collect();
        KnownSince::set(None);
        for _ in 0..8 {
            next_block_at(Timestamp::get() + 60_000);
            end_block(&mut model);
        }
        for _ in 0..140 {
            if open.iter().all(|id| is_closed(*id)) {
                break;
            }
            next_block();
            end_block(&mut model);
        }
        assert!(
            open.iter().all(|id| is_closed(*id)),
            "a challenge never ends"
        );
        model.seen
    })
}

/// Inputs for it without end: random bytes, the same ones each time.
pub fn sequences() -> impl Iterator<Item = Vec<u8>> {
    let mut state = 1u64;
    let mut byte = move || {
        // Any generator with a long period will do.
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 56) as u8
    };
    std::iter::repeat_with(move || (0..1_500).map(|_| byte()).collect())
}

fn is_closed(id: ChallengeId) -> bool {
    Challenges::<Test>::get(id).is_none_or(|challenge| !challenge.is_open())
}

/// Checks what must hold at the end of a block.
fn end_block(model: &mut Model) {
    model.follow();
    check_invariants();
}

/// Dispatches a call as a transaction does: decoded from its bytes, undone if it fails.
fn dispatch(call: impl Into<RuntimeCall>, origin: RuntimeOrigin, model: &mut Model) {
    let call: RuntimeCall = call.into();
    let before = frame::deps::sp_io::storage::root(StateVersion::V1);
    match call.dispatch(origin) {
        Ok(_) => model.count("taken"),
        Err(_) => {
            let after = frame::deps::sp_io::storage::root(StateVersion::V1);
            assert_eq!(before, after, "a refused call left a trace");
            model.count("refused");
        }
    }
}

/// The call with one bit of its encoding changed, as a dishonest sender may; what cannot be decoded
/// any more does not reach the chain.
fn spoil(call: impl Into<RuntimeCall>, choices: &mut Choices) -> Option<RuntimeCall> {
    let call: RuntimeCall = call.into();
    let mut bytes = call.encode();
    let at = usize::from(choices.byte()) << 8 | usize::from(choices.byte());
    let at = at % bytes.len();
    bytes[at] ^= 1 << choices.below(8);
    let spoilt = codec::DecodeAll::decode_all(&mut &bytes[..]).ok()?;
    is_ours(&spoilt).then_some(spoilt)
}

/// Whether the call is one of the three pallets.
fn is_ours(call: &RuntimeCall) -> bool {
    matches!(
        call,
        RuntimeCall::Providers(_) | RuntimeCall::Hosting(_) | RuntimeCall::Performance(_)
    )
}

/// Dispatches an honest call, or one time out of eight a spoilt one.
fn send(call: impl Into<RuntimeCall>, by: RuntimeOrigin, choices: &mut Choices, model: &mut Model) {
    let call = call.into();
    match choices.below(8) {
        7 => {
            if let Some(spoilt) = spoil(call, choices) {
                dispatch(spoilt, by, model);
            }
        }
        _ => dispatch(call, by, model),
    }
}

/// Any account of the runtime of the tests.
fn anybody(choices: &mut Choices) -> u8 {
    match choices.below(16) {
        place @ 0..=11 => place + 1,
        12 | 13 => HOSTER,
        14 => SPONSOR,
        _ => STRANGER,
    }
}

/// One move: a block, or a call of a participant.
fn make_move(choices: &mut Choices, model: &mut Model) {
    match choices.below(40) {
        0..=13 => go_on(choices, model),
        14..=27 => in_challenge(choices, model),
        28..=31 => provide(choices, model),
        32..=35 => host(choices, model),
        36 => set_timing(choices, model),
        _ => {
            let by = anybody(choices);
            let bytes = choices.bytes(64);
            if let Ok(call) = RuntimeCall::decode(&mut &bytes[..]) {
                if is_ours(&call) {
                    dispatch(call, origin(by), model);
                }
            }
        }
    }
}

/// Ends the block; the next one may be late or full, and its randomness old.
fn go_on(choices: &mut Choices, model: &mut Model) {
    let kind = choices.byte();
    if kind & 7 == 7 {
        System::set_block_consumed_resources(Weight::MAX, 0);
    }
    end_block(model);
    match kind >> 3 & 7 {
        7 => KnownSince::set(Some(System::block_number())),
        1..=6 => KnownSince::set(None),
        _ => {}
    }
    match kind >> 6 {
        // A jump to the next phase of some challenge.
        3 => {
            let next = Challenges::<Test>::iter_values().filter_map(|one| next_phase(&one));
            let now = Timestamp::get();
            let next = next.filter(|ms| *ms > now).min().unwrap_or(now + 500);
            next_block_at(next);
        }
        2 => next_block_at(Timestamp::get() + 5_000),
        _ => next_block(),
    }
}

/// When the phase ends, if a timestamp decides that.
fn next_phase(challenge: &Challenge<AccountId>) -> Option<u64> {
    match challenge.stage {
        Stage::Flip => Some(challenge.flip_end_ms()),
        Stage::Audit => Some(challenge.end_ms()),
        Stage::Commit { .. } | Stage::Report { .. } | Stage::Closed { .. } => None,
    }
}

/// What those who are in a challenge do.
fn in_challenge(choices: &mut Choices, model: &mut Model) {
    let mut ids: Vec<ChallengeId> = Challenges::<Test>::iter_keys().collect();
    ids.sort_unstable();
    let Some(last) = ids.len().checked_sub(1) else {
        return;
    };
    // Mostly one of the last two.
    let back = match choices.below(8) {
        0..=3 => 0,
        4..=6 => 1,
        _ => usize::from(choices.byte()),
    };
    let id = ids[last - back % ids.len()];
    let challenge = Challenges::<Test>::get(id).expect("it is there");
    let place = usize::from(choices.below(challenge.roster.len() as u8));
    if !StartHashes::<Test>::contains_key(id) {
        return;
    }
    // What is done in its phase, and now and then out of it.
    let what = match choices.below(10) {
        0 => choices.below(8),
        1 => 5 + choices.below(2),
        _ => match challenge.stage {
            Stage::Flip => 0,
            Stage::Commit { .. } => 1,
            Stage::Audit => 5,
            Stage::Report { .. } => 2 + choices.below(3),
            Stage::Closed { .. } => 7,
        },
    };
    match what {
        0 => anchor_one(id, place, choices, model),
        1 => commit_some(id, choices, model),
        2 | 3 => report_some(id, place, choices, model),
        4 => answer_some(id, challenge.roster.len(), choices, model),
        5 => {
            let number = u32::from(choices.below(3));
            accuse(id, place, number, choices, model);
        }
        6 => accuse_hoster(choices, model),
        _ => {
            let by = origin(anybody(choices));
            send(PerformanceCall::close_challenge { id }, by, choices, model);
        }
    }
}

fn anchor_one(id: ChallengeId, place: usize, choices: &mut Choices, model: &mut Model) {
    let number = u32::from(choices.below(6) / 3);
    let Some(attempt) = foreseen(id, number) else {
        return;
    };
    let (openings, echoes) = anchor_among(id, &attempt.topic, attempt.members);
    let call = PerformanceCall::anchor_flip {
        id,
        attempt: number,
        openings,
        echoes,
    };
    let by = RuntimeOrigin::signed(member(id, place));
    send(call, by, choices, model);
}

fn commit_some(id: ChallengeId, choices: &mut Choices, model: &mut Model) {
    let members = choices.byte();
    let topic = Fallbacks::<Test>::get(id).map_or([0; 32], |fallback| fallback.topic);
    let count = Challenges::<Test>::get(id)
        .expect("it is there")
        .roster
        .len();
    for place in (0..count).filter(|place| members & (1 << (place % 8)) != 0) {
        let z = z(id, place, &topic);
        let by = RuntimeOrigin::signed(member(id, place));
        send(PerformanceCall::commit_flip { id, z }, by, choices, model);
    }
}

/// Reports of members: one, or several at once.
fn report_some(id: ChallengeId, place: usize, choices: &mut Choices, model: &mut Model) {
    let kind = choices.byte();
    let count = Challenges::<Test>::get(id)
        .expect("it is there")
        .roster
        .len();
    let members = match kind >> 6 {
        0 | 1 => 1 << place,
        _ => usize::from(choices.byte()),
    };
    for place in (0..count).filter(|place| members & (1 << place) != 0) {
        let active = Flips::<Test>::get(id).is_some_and(|flip| flip.active & (1 << place) != 0);
        let report = match kind & 7 {
            0..=3 if active => draft(id, place).seal(id, place),
            4 if active => failed(id, place, Some(drawn(id, place))),
            5 if active => dishonest(id, place, choices),
            _ => failed(id, place, None),
        };
        let call = PerformanceCall::submit_report {
            id,
            report: Box::new(report),
        };
        let by = RuntimeOrigin::signed(member(id, place));
        send(call, by, choices, model);
    }
}

/// A report with something untrue under all signatures.
fn dishonest(id: ChallengeId, place: usize, choices: &mut Choices) -> Report {
    let mut draft = draft(id, place);
    let amount = u64::from(choices.byte());
    match choices.below(8) {
        0 => draft.receipt.opened += 100 * amount,
        1 => draft.receipt.issued = amount,
        2 => draft.receipt.entries.truncate(amount as usize),
        3 => draft.receipt.head.length += amount,
        4 => draft.receipt.sequence = amount as u32,
        5 => draft.metrics.throughput = Some(amount),
        6 => draft.peers.truncate(amount as usize % 4),
        _ => draft.sizes[0] += 1 + amount as u32,
    }
    draft.seal(id, place)
}

fn answer_some(id: ChallengeId, count: usize, choices: &mut Choices, model: &mut Model) {
    for place in 0..count {
        let Some(demand) = pallet_performance::Demands::<Test>::get(id, member(id, place)) else {
            continue;
        };
        let answer: Answer = match choices.below(8) {
            0 => rewritten_answer(u64::from(choices.below(4))),
            1 => continue,
            2 => chunk_answer((demand.chunk + 1) % VOUCHED),
            _ => chunk_answer(demand.chunk),
        };
        let call = PerformanceCall::answer_demand {
            id,
            attestor: member(id, place),
            answer: Box::new(answer),
        };
        send(call, origin(HOSTER), choices, model);
    }
}

/// Evidence against a member: true, or made up by somebody who lacks its key.
fn accuse(id: ChallengeId, place: usize, number: u32, choices: &mut Choices, model: &mut Model) {
    let takes_part =
        foreseen(id, number).is_some_and(|attempt| attempt.members & (1 << place) != 0);
    let proof = match choices.below(4) {
        0 => bad_reveal(id, place),
        1 => {
            let topic = topic(id);
            let forger = key("forger");
            let echo = |root| envelope(&topic, place as u16, &Body::Echo([root; 32]), &forger);
            Proof::Equivocation {
                id,
                attempt: 0,
                a: echo(1),
                b: echo(2),
            }
        }
        _ if takes_part => equivocation(id, number, place),
        _ => return,
    };
    let call = PerformanceCall::report_fraud {
        proof: Box::new(proof),
    };
    let by = origin(anybody(choices));
    send(call, by, choices, model);
}

/// A receipt of the hoster, false or honest, with the tree's right leaf beside it.
fn accuse_hoster(choices: &mut Choices, model: &mut Model) {
    let session = choices.below(4);
    let false_one = choices.below(2) == 1;
    let flips = Flips::<Test>::iter().filter(|(id, _)| Challenges::<Test>::contains_key(id));
    let Some((id, flip)) = flips.min_by_key(|(id, _)| *id) else {
        return;
    };
    let place = flip.active.trailing_zeros() as usize;
    let mut receipt = draft(id, place).receipt;
    receipt.session = [session; 32];
    receipt.issued = Timestamp::get();
    let index = receipt.entries[0].index;
    if false_one {
        receipt.entries[0].leaf[0] ^= 1;
    }
    let (sizes, nodes) = multiproof(LENGTH, &[index]);
    let receipt = signed_receipt(receipt.body(), &noise_key());
    let proof = Proof::FalseReceipt {
        hoster: public(&noise_key()),
        receipt: receipt.try_into().expect("it fits"),
        index,
        leaf: leaf(index).hash,
        sizes: sizes.try_into().expect("it fits"),
        nodes: nodes.try_into().expect("it fits"),
    };
    let call = PerformanceCall::report_fraud {
        proof: Box::new(proof),
    };
    let by = origin(anybody(choices));
    send(call, by, choices, model);
}

/// What providers do with themselves.
fn provide(choices: &mut Choices, model: &mut Model) {
    if choices.below(4) == 0 {
        // By chance alone hardly anybody would come back for a bond.
        let now = System::block_number();
        let free = pallet_providers::Unbondings::<Test>::iter()
            .filter(|(_, _, unbonding)| unbonding.free_at <= now)
            .min_by_key(|(_, who, _)| who.clone());
        if let Some((role, who, _)) = free {
            let withdraw = ProvidersCall::withdraw_bond { role };
            return send(withdraw, RuntimeOrigin::signed(who), choices, model);
        }
    }
    let who = match choices.below(13) {
        12 => HOSTER,
        number => number + 1,
    };
    let role = match who {
        HOSTER => Role::Hoster,
        _ => Role::Attestor,
    };
    let signature = |key: &_, role| {
        let genesis = System::block_hash(0).0;
        let message = registration::message(&genesis, role, account(who).as_ref());
        sign(key, &message)
    };
    let call = match choices.below(10) {
        0..=2 if who == HOSTER => ProvidersCall::register_hoster {
            noise_key: public(&noise_key()),
            endpoint: endpoint(who),
            proof: signature(&noise_key(), registration::Role::Hoster),
        },
        0..=2 => ProvidersCall::register_attestor {
            session_key: public(&session_key(who)),
            endpoint: endpoint(who),
            capacity: 1 + u32::from(choices.below(9)),
            proof: signature(&session_key(who), registration::Role::Attestor),
        },
        3 | 4 => ProvidersCall::undrain { role },
        5 => ProvidersCall::drain { role },
        6 => ProvidersCall::deregister { role },
        7 => ProvidersCall::withdraw_bond { role },
        8 => ProvidersCall::set_capacity {
            capacity: u32::from(choices.below(10)),
        },
        _ => ProvidersCall::set_endpoint {
            role,
            endpoint: endpoint(choices.byte()),
        },
    };
    send(call, origin(who), choices, model);
}

/// What sponsors and the hoster do with hostings.
fn host(choices: &mut Choices, model: &mut Model) {
    let next = pallet_hosting::NextHostingId::<Test>::get();
    let id = next.saturating_sub(1 + u64::from(choices.below(3)));
    let hosting = HostingsById::<Test>::get(id);
    let call = match choices.below(8) {
        0 | 1 => {
            let sla = Sla {
                latency_p50_us: Some(u32::from(choices.byte()) << 5),
                throughput: None,
            };
            HostingCall::open_hosting {
                feed: feed().key,
                hoster: account(HOSTER),
                escrow: COST * u128::from(choices.byte()) / 16,
                terms: Terms {
                    sla: (choices.below(2) == 1).then_some(sla),
                    ..terms()
                },
            }
        }
        2 | 3 => HostingCall::accept_hosting {
            id,
            fork: 0,
            length: VOUCHED,
        },
        4 => HostingCall::vouch {
            id,
            fork: hosting.and_then(|hosting| hosting.resting).unwrap_or(0),
            length: VOUCHED,
        },
        5 | 6 => HostingCall::top_up {
            id,
            amount: COST * u128::from(choices.byte()) / 64,
        },
        _ => HostingCall::close_hosting { id },
    };
    let by = match call {
        HostingCall::open_hosting { .. } => SPONSOR,
        HostingCall::top_up { .. } => anybody(choices),
        HostingCall::close_hosting { .. } if choices.below(2) == 0 => SPONSOR,
        _ => HOSTER,
    };
    send(call, origin(by), choices, model);
}

/// Root sets a timing, or one that cannot work.
fn set_timing(choices: &mut Choices, model: &mut Model) {
    let timing = Timing {
        grace_blocks: u32::from(choices.below(24)),
        demand_blocks: u32::from(choices.below(24)),
        min_active: u32::from(choices.below(7)),
        pool_factor: u32::from(choices.below(3)),
        ..pallet_performance::CurrentTiming::<Test>::get()
    };
    let call = PerformanceCall::set_timing { timing };
    dispatch(call, RuntimeOrigin::root(), model);
}
