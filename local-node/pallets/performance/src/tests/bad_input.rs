//! Each call of the three pallets unsigned, from the wrong account, with each argument out of range,
//! in each wrong phase, twice, and at the first and last block of its window: its own error, and no
//! trace in the storage.

use alloc::{boxed::Box, collections::BTreeSet};
use datdot_primitives::{
    answer::Answer,
    evidence::{EnvelopeBytes, Proof},
    registration,
    report::{Body, Failure, Outcome, Reason, Report},
    PublicKey, Signature,
};
use frame::{
    deps::{
        frame_support::traits::{GetCallMetadata, GetCallName, PalletInfoAccess},
        sp_io,
        sp_runtime::traits::Dispatchable,
    },
    testing_prelude::*,
};
use pallet_hosting::{Hostings, Sla, Terms, MAX_LENGTH};
use pallet_providers::{Endpoint, Ip, Role, Task, MAX_POSTPONEMENT};
use scale_info::{TypeDef, TypeInfo};

use super::{
    false_receipts::{against, receipt},
    report::SPOILT,
    timing::bad_timings,
};
use crate::{mock::*, types::Balance, Challenges, Timing};

type ProvidersCall = pallet_providers::Call<Test>;
type ProvidersError = pallet_providers::Error<Test>;
type HostingCall = pallet_hosting::Call<Test>;
type HostingError = pallet_hosting::Error<Test>;
type Call = crate::Call<Test>;
type Error = crate::Error<Test>;

/// The errors that a refused call gave, by pallet and name.
type Errors = BTreeSet<(u8, String)>;

fn root() -> Vec<u8> {
    sp_io::storage::root(StateVersion::V1)
}

/// Dispatches a call as in a transaction, and expects this refusal and no trace of it.
#[track_caller]
fn refuse(
    errors: &mut Errors,
    what: &str,
    origin: RuntimeOrigin,
    call: impl Into<RuntimeCall>,
    error: impl Into<DispatchError>,
) {
    let call = call.into();
    let name = call.get_call_metadata().function_name;
    let before = root();
    let refusal = match call.dispatch(origin) {
        Ok(_) => panic!("{name} is taken: {what}"),
        Err(refusal) => refusal,
    };
    assert_eq!(refusal.error, error.into(), "{name}: {what}");
    assert_eq!(refusal.post_info.pays_fee, Pays::Yes, "{name}: {what}");
    assert_eq!(root(), before, "{name} left a trace: {what}");
    if let DispatchError::Module(module) = refusal.error {
        let name = module.message.expect("errors have names");
        errors.insert((module.index, name.into()));
    }
}

/// Dispatches a call that must be taken.
#[track_caller]
fn take(what: &str, origin: RuntimeOrigin, call: impl Into<RuntimeCall>) {
    let call = call.into();
    let name = call.get_call_metadata().function_name;
    if let Err(refusal) = call.dispatch(origin) {
        panic!("{name} is refused: {what}: {:?}", refusal.error);
    }
}

/// The names of a type's variants.
fn variants<Enumeration: TypeInfo + 'static>() -> BTreeSet<String> {
    let TypeDef::Variant(kind) = Enumeration::type_info().type_def else {
        panic!("it is no enumeration");
    };
    let names = kind.variants.iter();
    names.map(|variant| variant.name.to_string()).collect()
}

// Calls, good but for what a test changes.

fn register(number: u8, key: PublicKey, capacity: u32, proof: Signature) -> ProvidersCall {
    ProvidersCall::register_attestor {
        session_key: key,
        endpoint: endpoint(number),
        capacity,
        proof,
    }
}

fn proof_of(number: u8, role: registration::Role, account: u8) -> Signature {
    let key = session_key(number);
    let genesis = System::block_hash(0).0;
    let message = registration::message(&genesis, role, self::account(account).as_ref());
    sign(&key, &message)
}

/// The right registration of the attestor with this number.
fn registration(number: u8) -> ProvidersCall {
    let proof = proof_of(number, registration::Role::Attestor, number);
    register(number, public(&session_key(number)), 4, proof)
}

fn open(escrow: Balance, terms: Terms<Balance>) -> HostingCall {
    HostingCall::open_hosting {
        feed: feed().key,
        hoster: account(HOSTER),
        escrow,
        terms,
    }
}

fn anchor_call(id: u64) -> Call {
    let (openings, echoes) = match crate::StartHashes::<Test>::contains_key(id) {
        true => anchor(id),
        false => Default::default(),
    };
    Call::anchor_flip {
        id,
        attempt: 0,
        openings,
        echoes,
    }
}

fn report_call(id: u64, report: Report) -> Call {
    Call::submit_report {
        id,
        report: Box::new(report),
    }
}

fn answer_call(id: u64, attestor: AccountId, answer: Answer) -> Call {
    Call::answer_demand {
        id,
        attestor,
        answer: Box::new(answer),
    }
}

fn fraud_call(proof: Proof) -> Call {
    Call::report_fraud {
        proof: Box::new(proof),
    }
}

fn by(id: u64, place: usize) -> RuntimeOrigin {
    RuntimeOrigin::signed(member(id, place))
}

/// A report that nobody signed.
fn empty_report() -> Report {
    let failure = Failure {
        reason: Reason::NoData,
        demand: None,
    };
    Report {
        w: [0; 32],
        audit_key: [0; 32],
        binding: [0; 64],
        body: Body {
            outcome: Outcome::Failed(failure),
            peers: Default::default(),
        },
    }
}

/// A proof without envelopes.
fn empty_proof(id: u64) -> Proof {
    Proof::Equivocation {
        id,
        attempt: 0,
        a: Default::default(),
        b: Default::default(),
    }
}

/// One instance of each call, with whatever arguments.
fn all_calls() -> Vec<RuntimeCall> {
    let role = Role::Attestor;
    let providers = [
        registration(1),
        ProvidersCall::register_hoster {
            noise_key: [0; 32],
            endpoint: endpoint(1),
            proof: [0; 64],
        },
        ProvidersCall::set_endpoint {
            role,
            endpoint: endpoint(1),
        },
        ProvidersCall::set_capacity { capacity: 1 },
        ProvidersCall::set_session_key {
            key: [0; 32],
            proof: [0; 64],
        },
        ProvidersCall::drain { role },
        ProvidersCall::undrain { role },
        ProvidersCall::deregister { role },
        ProvidersCall::withdraw_bond { role },
    ];
    let hosting = [
        HostingCall::publish_feed {
            key: [0; 32],
            manifest: None,
        },
        open(1, terms()),
        HostingCall::accept_hosting {
            id: 0,
            fork: 0,
            length: 1,
        },
        HostingCall::vouch {
            id: 0,
            fork: 0,
            length: 1,
        },
        HostingCall::close_hosting { id: 0 },
        HostingCall::top_up { id: 0, amount: 1 },
    ];
    let performance = [
        Call::set_timing {
            timing: Timing::development(),
        },
        anchor_call(u64::MAX),
        Call::commit_flip { id: 0, z: [0; 32] },
        report_call(0, empty_report()),
        answer_call(0, account(1), rewritten_answer(1)),
        fraud_call(empty_proof(0)),
        Call::close_challenge { id: 0 },
    ];
    let calls = providers.map(RuntimeCall::from).into_iter();
    let calls = calls.chain(hosting.map(RuntimeCall::from));
    calls.chain(performance.map(RuntimeCall::from)).collect()
}

#[test]
fn calls_are_refused_unsigned_and_of_root_but_the_timing() {
    with_chain(|| {
        let mut errors = Errors::new();
        let mut names = BTreeSet::new();
        for call in all_calls() {
            let name = call.get_call_metadata().function_name;
            refuse(
                &mut errors,
                "unsigned",
                RuntimeOrigin::none(),
                call.clone(),
                BadOrigin,
            );
            if name == "set_timing" {
                refuse(&mut errors, "not root", origin(1), call.clone(), BadOrigin);
            } else {
                refuse(
                    &mut errors,
                    "root",
                    RuntimeOrigin::root(),
                    call.clone(),
                    BadOrigin,
                );
            }
            assert!(names.insert(name), "{name} is there twice");
        }
        let all = [
            ProvidersCall::get_call_names(),
            HostingCall::get_call_names(),
            Call::get_call_names(),
        ];
        let all: BTreeSet<&str> = all.concat().into_iter().collect();
        assert_eq!(names, all);
    });
}

fn registrations(errors: &mut Errors) {
    with_chain(|| {
        use ProvidersError as Error;
        prepare(2);
        let attestor = registration::Role::Attestor;
        let own = proof_of(3, attestor, 3);
        let key = public(&session_key(3));
        let mut refused = |what, call, error: ProvidersError| {
            refuse(errors, what, origin(3), call, error);
        };
        for capacity in [0, 9, u32::MAX] {
            refused(
                "capacity",
                register(3, key, capacity, own),
                Error::InvalidCapacity,
            );
        }
        let mut small_order = [0; 32];
        small_order[0] = 1;
        for key in [[0xff; 32], small_order, [0; 32]] {
            refused("key", register(3, key, 4, own), Error::InvalidKey);
        }
        let wrong = [
            proof_of(3, attestor, 4),
            proof_of(3, registration::Role::Hoster, 3),
            proof_of(4, attestor, 3),
            [0xff; 64],
        ];
        for proof in wrong {
            refused("proof", register(3, key, 4, proof), Error::InvalidProof);
        }
        for taken in [public(&session_key(1)), public(&noise_key())] {
            refused("key", register(3, taken, 4, own), Error::KeyTaken);
        }
        let endpoints = [
            (Ip::V4([9; 4]), 0),
            (Ip::V4([0; 4]), 1),
            (Ip::V6([0; 16]), 1),
        ];
        for (ip, port) in endpoints {
            let endpoint = Endpoint { ip, port };
            let mut call = registration(3);
            if let ProvidersCall::register_attestor { endpoint: of, .. } = &mut call {
                *of = endpoint;
            }
            refused("endpoint", call, Error::InvalidEndpoint);
            let noise_key = key;
            let call = ProvidersCall::register_hoster {
                noise_key,
                endpoint,
                proof: own,
            };
            refused("endpoint", call, Error::InvalidEndpoint);
        }
        let hoster = ProvidersCall::register_hoster {
            noise_key: key,
            endpoint: endpoint(3),
            proof: own,
        };
        refused("an attestor's proof", hoster, Error::InvalidProof);
        pallet_providers::AllowPrivateEndpoints::<Test>::put(false);
        refused("endpoint", registration(3), Error::PrivateEndpoint);
        pallet_providers::AllowPrivateEndpoints::<Test>::put(true);
        refuse(
            errors,
            "without money",
            origin(77),
            register(77, public(&session_key(77)), 4, proof_of(77, attestor, 77)),
            TokenError::FundsUnavailable,
        );
        take("good", origin(3), registration(3));
        refuse(
            errors,
            "twice",
            origin(3),
            registration(3),
            Error::AlreadyRegistered,
        );
    });
}

/// What providers call, and the windows of keys and bonds.
fn providers(errors: &mut Errors) {
    with_chain(|| {
        use ProvidersError as Error;
        prepare(2);
        let role = Role::Attestor;
        let strangers: [ProvidersCall; 7] = [
            ProvidersCall::set_endpoint {
                role,
                endpoint: endpoint(1),
            },
            ProvidersCall::set_capacity { capacity: 1 },
            ProvidersCall::set_session_key {
                key: public(&session_key(9)),
                proof: proof_of(9, registration::Role::Attestor, STRANGER),
            },
            ProvidersCall::drain { role },
            ProvidersCall::undrain { role },
            ProvidersCall::deregister { role },
            ProvidersCall::set_endpoint {
                role: Role::Hoster,
                endpoint: endpoint(1),
            },
        ];
        for call in strangers {
            refuse(
                errors,
                "a stranger",
                origin(STRANGER),
                call,
                Error::NotRegistered,
            );
        }
        // A hoster is no attestor.
        let drain = ProvidersCall::drain { role };
        refuse(
            errors,
            "a hoster",
            origin(HOSTER),
            drain,
            Error::NotRegistered,
        );
        for capacity in [0, 9, u32::MAX] {
            let call = ProvidersCall::set_capacity { capacity };
            refuse(errors, "capacity", origin(1), call, Error::InvalidCapacity);
        }
        let bad_endpoint = ProvidersCall::set_endpoint {
            role,
            endpoint: Endpoint {
                ip: Ip::V4([9; 4]),
                port: 0,
            },
        };
        refuse(
            errors,
            "endpoint",
            origin(1),
            bad_endpoint,
            Error::InvalidEndpoint,
        );
        let set_key = |key, proof| ProvidersCall::set_session_key { key, proof };
        let attestor = registration::Role::Attestor;
        let own = public(&session_key(1));
        let free = public(&session_key(9));
        let keys = [
            (set_key(own, proof_of(1, attestor, 1)), Error::KeyTaken),
            (
                set_key([0; 32], proof_of(9, attestor, 1)),
                Error::InvalidKey,
            ),
            (set_key(free, proof_of(9, attestor, 2)), Error::InvalidProof),
        ];
        for (call, error) in keys {
            refuse(errors, "session key", origin(1), call, error);
        }
        let withdraw = || ProvidersCall::withdraw_bond { role };
        refuse(
            errors,
            "before leaving",
            origin(1),
            withdraw(),
            Error::NoBond,
        );
        let undrain = || ProvidersCall::undrain { role };
        refuse(
            errors,
            "not drained",
            origin(1),
            undrain(),
            Error::NotDrained,
        );
        let drain = || ProvidersCall::drain { role };
        take("once", origin(1), drain());
        refuse(errors, "twice", origin(1), drain(), Error::AlreadyDrained);
        take("once", origin(1), undrain());
        refuse(errors, "twice", origin(1), undrain(), Error::NotDrained);

        // Leaving: the bond is held, the key reserved, until exactly UnbondingBlocks later.
        let deregister = || ProvidersCall::deregister { role };
        let left = System::block_number();
        take("once", origin(1), deregister());
        refuse(
            errors,
            "twice",
            origin(1),
            deregister(),
            Error::NotRegistered,
        );
        refuse(
            errors,
            "with a bond",
            origin(1),
            registration(1),
            Error::BondNotWithdrawn,
        );
        let unbonding = pallet_providers::Unbondings::<Test>::get(role, account(1));
        let free_at = unbonding.expect("it is unbonding").free_at;
        blocks(free_at - System::block_number() - 1);
        refuse(
            errors,
            "the last block",
            origin(1),
            withdraw(),
            Error::BondNotFree,
        );
        blocks(1);
        take("the first block", origin(1), withdraw());
        refuse(errors, "twice", origin(1), withdraw(), Error::NoBond);
        blocks(left + UNBONDING - System::block_number() - 1);
        let others = proof_of(1, attestor, 3);
        let of_another = || register(3, public(&session_key(1)), 4, others);
        refuse(
            errors,
            "reserved, the last block",
            origin(3),
            of_another(),
            Error::KeyTaken,
        );
        blocks(1);
        take("free, the first block", origin(3), of_another());
    });
    with_chain(|| {
        let id = start();
        let engaged = ProvidersError::Engaged;
        let role = Role::Attestor;
        refuse(
            errors,
            "in a challenge",
            by(id, 0),
            ProvidersCall::deregister { role },
            engaged,
        );
        let role = Role::Hoster;
        refuse(
            errors,
            "with a hosting",
            origin(HOSTER),
            ProvidersCall::deregister { role },
            ProvidersError::Engaged,
        );
    });
    with_chain(|| {
        prepare(1);
        // As many tasks as the blocks to come can take.
        let now = System::block_number();
        let task = Task::FreeKey([7; 32]);
        let full: BoundedVec<_, <Test as pallet_providers::Config>::MaxTasksPerBlock> =
            vec![task; 64].try_into().expect("it fits");
        let due = now + 1..=now + 1 + MAX_POSTPONEMENT;
        for block in due.clone() {
            pallet_providers::Tasks::<Test>::insert(block, full.clone());
        }
        let role = Role::Attestor;
        refuse(
            errors,
            "no room",
            origin(1),
            ProvidersCall::drain { role },
            ProvidersError::TooManyTasks,
        );
        pallet_providers::Tasks::<Test>::mutate(due.end(), |tasks| tasks.pop());
        take("room", origin(1), ProvidersCall::drain { role });
    });
}

fn hostings(errors: &mut Errors) {
    with_chain(|| {
        use HostingError as Error;
        prepare(5);
        let publish = |key, manifest| HostingCall::publish_feed { key, manifest };
        let mut other_form = manifest();
        other_form[0] = 2;
        let mut other_signer = manifest();
        other_signer[69] ^= 1;
        let taken = public(&session_key(1));
        let feeds = [
            (
                publish(feed().key, Some(manifest())),
                Error::AlreadyPublished,
            ),
            (
                publish([1; 32], Some(other_form)),
                Error::UnsupportedManifest,
            ),
            (publish([1; 32], Some(manifest())), Error::WrongFeedKey),
            (publish(feed().key, None), Error::AlreadyPublished),
            (publish([1; 32], Some(other_signer)), Error::WrongFeedKey),
            (publish([0; 32], None), Error::InvalidSigner),
            (publish(taken, None), Error::SignerTaken),
        ];
        for (call, error) in feeds {
            refuse(errors, "feed", origin(STRANGER), call, error);
        }

        let changed = |change: &dyn Fn(&mut Terms<Balance>)| {
            let mut terms = terms();
            change(&mut terms);
            open(COST, terms)
        };
        let sla = |latency_p50_us, throughput| {
            let sla = Sla {
                latency_p50_us,
                throughput,
            };
            changed(&|terms| terms.sla = Some(sla))
        };
        let mut elsewhere = open(COST, terms());
        if let HostingCall::open_hosting { feed, .. } = &mut elsewhere {
            feed[0] ^= 1;
        }
        let mut to_nobody = open(COST, terms());
        if let HostingCall::open_hosting { hoster, .. } = &mut to_nobody {
            *hoster = account(1);
        }
        let offers = [
            (elsewhere, Error::UnknownFeed),
            (to_nobody, Error::NotAHoster),
            (changed(&|terms| terms.length = 0), Error::InvalidLength),
            (
                changed(&|terms| terms.length = MAX_LENGTH + 1),
                Error::InvalidLength,
            ),
            (
                changed(&|terms| terms.attestor_reward = 9),
                Error::RewardTooSmall,
            ),
            (open(99, terms()), Error::EscrowTooSmall),
            (sla(None, None), Error::InvalidSla),
            (sla(Some(0), None), Error::InvalidSla),
            (sla(Some(1), Some(0)), Error::InvalidSla),
        ];
        for (call, error) in offers {
            refuse(errors, "offer", origin(SPONSOR), call, error);
        }
        refuse(
            errors,
            "more than it has",
            origin(SPONSOR),
            open(ENDOWMENT + 1, terms()),
            TokenError::FundsUnavailable,
        );

        take("an offer", origin(SPONSOR), open(10 * COST, terms()));
        let accept = |id, fork, length| HostingCall::accept_hosting { id, fork, length };
        let vouch = |id, fork, length| HostingCall::vouch { id, fork, length };
        let close = |id| HostingCall::close_hosting { id };
        let top_up = |id, amount| HostingCall::top_up { id, amount };
        let before = [
            (HOSTER, accept(1, 0, VOUCHED), Error::UnknownHosting),
            (STRANGER, accept(0, 0, VOUCHED), Error::NotTheHoster),
            (HOSTER, accept(0, 0, VOUCHED - 1), Error::InvalidLength),
            (HOSTER, accept(0, 0, MAX_LENGTH + 1), Error::InvalidLength),
            (HOSTER, vouch(0, 0, VOUCHED + 1), Error::NotAccepted),
        ];
        for (who, call, error) in before {
            refuse(errors, "offered", origin(who), call, error);
        }
        take("accepted", origin(HOSTER), accept(0, 1, VOUCHED));
        let after = [
            (HOSTER, accept(0, 1, VOUCHED), Error::AlreadyAccepted),
            (HOSTER, vouch(1, 1, VOUCHED + 1), Error::UnknownHosting),
            (SPONSOR, vouch(0, 1, VOUCHED + 1), Error::NotTheHoster),
            (HOSTER, vouch(0, 2, VOUCHED - 1), Error::InvalidLength),
            (HOSTER, vouch(0, 2, MAX_LENGTH + 1), Error::InvalidLength),
            (HOSTER, vouch(0, 1, VOUCHED), Error::NoProgress),
            (HOSTER, vouch(0, 0, VOUCHED + 1), Error::NoProgress),
            (SPONSOR, close(1), Error::UnknownHosting),
            (STRANGER, close(0), Error::NotAParty),
            (STRANGER, top_up(1, 1), Error::UnknownHosting),
        ];
        for (who, call, error) in after {
            refuse(errors, "accepted", origin(who), call, error);
        }
        refuse(
            errors,
            "more than it has",
            origin(STRANGER),
            top_up(0, ENDOWMENT + 1),
            TokenError::FundsUnavailable,
        );
        blocks(1);
        take("in a challenge", origin(SPONSOR), close(0));
        for (who, call) in [
            (HOSTER, close(0)),
            (HOSTER, vouch(0, 1, VOUCHED + 1)),
            (STRANGER, top_up(0, 1)),
        ] {
            refuse(errors, "closing", origin(who), call, Error::Closing);
        }
    });
    with_chain(|| {
        prepare(5);
        take("an offer", origin(SPONSOR), open(COST, terms()));
        let role = Role::Hoster;
        take("", origin(HOSTER), ProvidersCall::drain { role });
        blocks(1);
        let accept = HostingCall::accept_hosting {
            id: 0,
            fork: 0,
            length: VOUCHED,
        };
        let not_a_hoster = HostingError::NotAHoster;
        refuse(errors, "drained", origin(HOSTER), accept, not_a_hoster);
        take(
            "ended",
            origin(HOSTER),
            HostingCall::close_hosting { id: 0 },
        );
        let again = HostingCall::close_hosting { id: 0 };
        let unknown = HostingError::UnknownHosting;
        refuse(errors, "twice", origin(HOSTER), again, unknown);
    });
}

/// What challenges do to hostings refuses too; no call leads there.
fn within_hostings(errors: &mut Errors) {
    with_chain(|| {
        prepare(5);
        open_hosting(10 * COST);
        blocks(1);
        let mut note = |done: DispatchResult, error: HostingError| {
            let refusal = done.expect_err("it is refused");
            assert_eq!(refusal, error.into());
            if let DispatchError::Module(module) = refusal {
                let name = module.message.expect("errors have names");
                errors.insert((module.index, name.into()));
            }
        };
        note(Hosting::start_challenge(0), HostingError::Challenged);
        let more = Hosting::pay(0, &account(STRANGER), 10 * COST + 1);
        note(more, HostingError::EscrowTooSmall);
    });
}

fn timings(errors: &mut Errors) {
    with_chain(|| {
        for (timing, error) in bad_timings() {
            let call = Call::set_timing { timing };
            let what = std::format!("{timing:?}");
            refuse(errors, &what, RuntimeOrigin::root(), call, error);
        }
    });
}

/// The six calls about a challenge, as those make them who may: good if it is their time.
fn in_phase(id: u64) -> [(&'static str, RuntimeOrigin, Call); 6] {
    let known = crate::StartHashes::<Test>::contains_key(id);
    let flipped = crate::Flips::<Test>::contains_key(id);
    let topic = crate::Fallbacks::<Test>::get(id).map_or([0; 32], |fallback| fallback.topic);
    let report = match flipped {
        true => draft(id, 1).seal(id, 1),
        false => empty_report(),
    };
    let fraud = match known {
        true => equivocation(id, 0, 4),
        false => empty_proof(id),
    };
    let answer = match flipped {
        true => chunk_answer(drawn(id, 0)),
        false => chunk_answer(1),
    };
    let z = z(id, 1, &topic);
    [
        ("anchor", by(id, 0), anchor_call(id)),
        ("commit", by(id, 1), Call::commit_flip { id, z }),
        ("report", by(id, 1), report_call(id, report)),
        (
            "answer",
            origin(HOSTER),
            answer_call(id, member(id, 0), answer),
        ),
        ("fraud", origin(STRANGER), fraud_call(fraud)),
        ("close", origin(STRANGER), Call::close_challenge { id }),
    ]
}

/// Refuses what has an error here, and checks that all else would be taken.
#[track_caller]
fn phase(errors: &mut Errors, when: &str, id: u64, refused: &[(&str, DispatchError)]) {
    let mut left = refused.to_vec();
    for (name, origin, call) in in_phase(id) {
        match left.iter().position(|(refused, _)| *refused == name) {
            Some(at) => refuse(errors, when, origin, call, left.remove(at).1),
            None => hypothetically!(take(when, origin, call)),
        }
    }
    assert!(left.is_empty(), "no call about a challenge: {left:?}");
}

/// Each call in each phase, at the phase's first and last block.
fn phases(errors: &mut Errors) {
    let anchor = |error: Error| ("anchor", DispatchError::from(error));
    let commit = |error: Error| ("commit", DispatchError::from(error));
    let report = |error: Error| ("report", DispatchError::from(error));
    let answer = |error: Error| ("answer", DispatchError::from(error));
    let fraud = |error: Error| ("fraud", DispatchError::from(error));
    let close = |error: Error| ("close", DispatchError::from(error));
    // With the fallback: nobody anchors.
    with_chain(|| {
        let id = start();
        let early = [
            anchor(Error::StartHashUnknown),
            commit(Error::CommitsNotOpen),
            report(Error::ReportsNotOpen),
            answer(Error::UnknownDemand),
            fraud(Error::StartHashUnknown),
            close(Error::NotClosable),
        ];
        phase(errors, "the block of the start", id, &early);
        let flip = [
            commit(Error::CommitsNotOpen),
            report(Error::ReportsNotOpen),
            answer(Error::UnknownDemand),
            close(Error::NotClosable),
        ];
        let flip_end = Challenges::<Test>::get(id).unwrap().flip_end_ms();
        next_block();
        phase(errors, "the first block of the flip", id, &flip);
        next_block_at(flip_end - 1);
        phase(errors, "the last block of the flip", id, &flip);
        let committing = [
            anchor(Error::FlipOver),
            report(Error::ReportsNotOpen),
            answer(Error::UnknownDemand),
            close(Error::NotClosable),
        ];
        next_block_at(flip_end);
        phase(errors, "the first block of commits", id, &committing);
        commit_all(id, [0, 2, 3, 4]);
        blocks(3);
        phase(errors, "the last block of commits", id, &committing);
        commit_all(id, [1]);
        let again = [&committing[..], &[commit(Error::AlreadyCommitted)]].concat();
        phase(errors, "who committed", id, &again);
        blocks(1);
        let audit = [
            anchor(Error::FlipOver),
            commit(Error::CommitsOver),
            report(Error::ReportsNotOpen),
            answer(Error::UnknownDemand),
            close(Error::NotClosable),
        ];
        phase(errors, "the block of the fallback's randomness", id, &audit);
    });
    // Anchored, with one demand.
    with_chain(|| {
        let id = anchored();
        let audit = [
            anchor(Error::AlreadyAnchored),
            commit(Error::CommitsOver),
            report(Error::ReportsNotOpen),
            answer(Error::UnknownDemand),
            close(Error::NotClosable),
        ];
        phase(errors, "the block of the anchor", id, &audit);
        let end = Challenges::<Test>::get(id).unwrap().end_ms();
        next_block_at(end - 1);
        phase(errors, "the last block of audits", id, &audit);
        next_block_at(end);
        let undemanded = [
            anchor(Error::AlreadyAnchored),
            commit(Error::CommitsOver),
            answer(Error::UnknownDemand),
            close(Error::NotClosable),
        ];
        phase(errors, "the first block of reports", id, &undemanded);
        submit_demand(id, 0);
        let reporting = [
            anchor(Error::AlreadyAnchored),
            commit(Error::CommitsOver),
            close(Error::NotClosable),
        ];
        phase(errors, "a demand is open", id, &reporting);
        blocks(11);
        phase(errors, "the last block of reports", id, &reporting);
        let over = [
            anchor(Error::AlreadyAnchored),
            commit(Error::CommitsOver),
            report(Error::ReportsOver),
            answer(Error::AnswerTooLate),
        ];
        blocks(1);
        phase(errors, "the first block after reports", id, &over);
        take("due", origin(STRANGER), Call::close_challenge { id });
        let settlement = crate::Settlements::<Test>::get(id).expect("it is settled");
        let closed = [
            anchor(Error::AlreadyAnchored),
            commit(Error::CommitsOver),
            report(Error::ReportsOver),
            answer(Error::AnswerTooLate),
            close(Error::AlreadyClosed),
        ];
        phase(errors, "closed", id, &closed);
        blocks(UNBONDING - 1);
        phase(errors, "the last block for proofs", id, &closed);
        let calls = in_phase(id);
        // Pruning may lag; the time for proofs is over all the same.
        hypothetically!({
            System::set_block_number(System::block_number() + 1);
            let old = [&closed[..], &[fraud(Error::ProofTooOld)]].concat();
            phase(errors, "not pruned yet", id, &old);
        });
        blocks(1);
        assert!(!Challenges::<Test>::contains_key(id));
        for (name, origin, call) in calls {
            refuse(errors, name, origin, call, Error::UnknownChallenge);
        }
        // What it burnt nothing tells any more.
        BurntBeside::set(burnt_by(&settlement));
    });
    BurntBeside::set(0);
}

/// Who is none of those whose call it is, and arguments that are not right.
fn challenges(errors: &mut Errors) {
    with_chain(|| {
        let id = start();
        next_block();
        let good = in_phase(id);
        for (name, _, call) in &good[..3] {
            let stranger = origin(STRANGER);
            refuse(errors, name, stranger, call.clone(), Error::NotInRoster);
        }
        for who in [origin(STRANGER), by(id, 0)] {
            let call = good[3].2.clone();
            refuse(errors, "answer", who, call, Error::NotTheHoster);
        }
        let changed = |change: &dyn Fn(&mut u32, &mut Openings, &mut Echoes)| {
            let (mut attempt, (mut openings, mut echoes)) = (0, anchor(id));
            change(&mut attempt, &mut openings, &mut echoes);
            Call::anchor_flip {
                id,
                attempt,
                openings,
                echoes,
            }
        };
        let anchors = [
            (
                changed(&|attempt, _, _| *attempt = 1),
                Error::AttemptUnavailable,
            ),
            (
                changed(&|attempt, _, _| *attempt = u32::MAX),
                Error::AttemptUnavailable,
            ),
            (
                changed(&|_, openings, _| *openings = Default::default()),
                Error::OpeningCount,
            ),
            (
                changed(&|_, openings, _| openings.try_push(openings[0]).unwrap()),
                Error::OpeningCount,
            ),
            (
                changed(&|_, _, echoes| *echoes = Default::default()),
                Error::EchoCount,
            ),
            (changed(&|_, _, echoes| echoes[4][0] ^= 1), Error::WrongEcho),
        ];
        for (call, error) in anchors {
            refuse(errors, "anchor", by(id, 0), call, error);
        }

        // Evidence.
        let envelopes = |change: &dyn Fn(&mut [u8], &mut [u8])| {
            let mut proof = equivocation(id, 0, 4);
            if let Proof::Equivocation { a, b, .. } = &mut proof {
                change(&mut a[..], &mut b[..]);
            }
            proof
        };
        let mut unknown_attempt = equivocation(id, 0, 4);
        if let Proof::Equivocation { attempt, .. } = &mut unknown_attempt {
            *attempt = u32::MAX;
        }
        let proofs = [
            (empty_proof(u64::MAX), Error::UnknownChallenge),
            (unknown_attempt, Error::AttemptUnavailable),
            (empty_proof(id), Error::ProofMalformed),
            (envelopes(&|a, _| a[0] = 9), Error::ProofMalformed),
            (bad_reveal_with(id, core::mem::swap), Error::ProofKinds),
            (envelopes(&|a, _| a[1] ^= 1), Error::ProofTopic),
            (envelopes(&|a, _| a[33] = 0), Error::ProofMembers),
            (
                envelopes(&|a, b| (a[33], b[33]) = (5, 5)),
                Error::ProofMember,
            ),
            (
                envelopes(&|a, b| a.copy_from_slice(b)),
                Error::ProofNotContradictory,
            ),
            (envelopes(&|a, _| a[98] ^= 1), Error::ProofSignature),
        ];
        for (proof, error) in proofs {
            refuse(errors, "proof", origin(STRANGER), fraud_call(proof), error);
        }
        let proof = || fraud_call(equivocation(id, 0, 4));
        take("once", origin(STRANGER), proof());
        refuse(errors, "twice", origin(HOSTER), proof(), Error::FraudKnown);
        // Expelled before the fallback.
        until_commits(id);
        let z = [0; 32];
        let commit = Call::commit_flip { id, z };
        refuse(errors, "expelled", by(id, 4), commit, Error::NotInFallback);
    });
    // Who did not commit is not active.
    with_chain(|| {
        let id = fallen_back(&[0, 1, 2, 3]);
        until(Challenges::<Test>::get(id).unwrap().end_ms());
        let report = report_call(id, failed(id, 4, None));
        refuse(
            errors,
            "did not commit",
            by(id, 4),
            report,
            Error::NotActive,
        );
    });
}

/// A proof of a bad reveal by the first member, its envelopes changed.
fn bad_reveal_with(id: u64, change: impl FnOnce(&mut EnvelopeBytes, &mut EnvelopeBytes)) -> Proof {
    let mut proof = bad_reveal(id, 0);
    if let Proof::BadReveal { commit, reveal, .. } = &mut proof {
        change(commit, reveal);
    }
    proof
}

fn reports(errors: &mut Errors) {
    with_chain(|| {
        let id = reporting();
        for (what, spoil, error) in SPOILT {
            let mut spoilt = draft(id, 0);
            spoil(&mut spoilt);
            let call = report_call(id, spoilt.seal(id, 0));
            refuse(errors, what, by(id, 0), call, error());
        }
        let good = draft(id, 0).seal(id, 0);
        let changed = |change: &dyn Fn(&mut Report)| {
            let mut report = good.clone();
            change(&mut report);
            report_call(id, report)
        };
        let with_receipt = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut receipt = signed_receipt(draft(id, 0).receipt.body(), &noise_key());
            change(&mut receipt);
            report_call(id, draft(id, 0).seal_with(receipt, id, 0))
        };
        let drawn = opened(id, 0).drawn_chunks(VOUCHED, 100);
        let other = (0..VOUCHED).find(|chunk| !drawn.contains(chunk)).unwrap();
        let cases = [
            (changed(&|report| report.w[0] ^= 1), Error::WrongSecrets),
            (
                changed(&|report| report.audit_key[0] ^= 1),
                Error::WrongSecrets,
            ),
            (
                changed(&|report| report.binding[0] ^= 1),
                Error::WrongBinding,
            ),
            (
                report_call(id, failed(id, 0, Some(other))),
                Error::DemandNotDrawn,
            ),
            (
                report_call(id, failed(id, 0, Some(u64::MAX))),
                Error::DemandNotDrawn,
            ),
            (
                with_receipt(&|receipt| receipt.clear()),
                Error::ReceiptMalformed,
            ),
            (
                with_receipt(&|receipt| receipt[0] = 2),
                Error::ReceiptVersion,
            ),
            (
                with_receipt(&|receipt| *receipt.last_mut().unwrap() ^= 1),
                Error::ReceiptSignature,
            ),
        ];
        for (call, error) in cases {
            refuse(errors, "report", by(id, 0), call, error);
        }
        // A jitter that set_timing would not take, so that there is no moment at all.
        hypothetically!({
            Challenges::<Test>::mutate(id, |challenge| {
                let challenge = challenge.as_mut().expect("it is there");
                challenge.timing.schedule =
                    datdot_primitives::draws::Schedule::Slots { num: 1, den: 0 };
            });
            let call = report_call(id, good.clone());
            refuse(errors, "no moment", by(id, 0), call, Error::NoMoment);
        });
        take("once", by(id, 0), report_call(id, good.clone()));
        let again = report_call(id, good.clone());
        refuse(errors, "twice", by(id, 0), again, Error::AlreadyReported);
    });
}

fn answers(errors: &mut Errors) {
    with_chain(|| {
        let id = reporting();
        submit_demand(id, 0);
        let chunk = drawn(id, 0);
        let changed = |change: &dyn Fn(&mut Answer)| {
            let mut answer = chunk_answer(chunk);
            change(&mut answer);
            answer
        };
        let short = changed(&|answer| {
            if let Answer::Chunk { length, .. } = answer {
                *length = VOUCHED - 1;
            }
        });
        let too_long = changed(&|answer| {
            if let Answer::Chunk { length, .. } = answer {
                *length = u64::MAX;
            }
        });
        let empty = changed(&|answer| {
            if let Answer::Chunk { bytes, .. } = answer {
                *bytes = Default::default();
            }
        });
        let no_nodes = changed(&|answer| {
            if let Answer::Chunk { nodes, .. } = answer {
                *nodes = Default::default();
            }
        });
        let unsigned = changed(&|answer| {
            if let Answer::Chunk { head_signature, .. } = answer {
                *head_signature = [0; 64];
            }
        });
        let cases = [
            (short, Error::AnswerLength),
            (too_long, Error::ProofRange),
            (empty, Error::ProofSizes),
            (no_nodes, Error::ProofNodes),
            (unsigned, Error::HeadSignature),
            (rewritten_answer(0), Error::AnswerFork),
        ];
        for (answer, error) in cases {
            let call = answer_call(id, member(id, 0), answer);
            refuse(errors, "answer", origin(HOSTER), call, error);
        }
        let nobody = answer_call(id, account(STRANGER), chunk_answer(chunk));
        let unknown = Error::UnknownDemand;
        refuse(errors, "nobody's", origin(HOSTER), nobody, unknown);
        let good = || answer_call(id, member(id, 0), chunk_answer(chunk));
        take("once", origin(HOSTER), good());
        let answered = Error::AlreadyAnswered;
        refuse(errors, "twice", origin(HOSTER), good(), answered);
    });
}

fn false_receipts(errors: &mut Errors) {
    with_chain(|| {
        prepare(5);
        let now = Timestamp::get();
        let proof = |session: u8| {
            let mut receipt = receipt([9; 32], now);
            receipt.session = [session; 32];
            against(&receipt, 4)
        };
        let mut of_nobody = proof(1);
        if let Proof::FalseReceipt {
            hoster, receipt, ..
        } = &mut of_nobody
        {
            *hoster = public(&session_key(1));
            let body = super::false_receipts::receipt([9; 32], now).body();
            *receipt = signed_receipt(body, &session_key(1)).try_into().unwrap();
        }
        let old = against(&receipt([9; 32], now - u64::from(UNBONDING) * 500), 4);
        let cases = [
            (of_nobody, Error::UnknownHoster),
            (old, Error::ProofTooOld),
            (against(&receipt([9; 32], now), 6), Error::ReceiptLacksChunk),
            (
                against(&receipt([9; 32], now), 3),
                Error::ProofNotContradictory,
            ),
        ];
        for (proof, error) in cases {
            refuse(
                errors,
                "receipt",
                origin(STRANGER),
                fraud_call(proof),
                error,
            );
        }
        take("once", origin(STRANGER), fraud_call(proof(1)));
        let nothing = Error::NothingToSlash;
        let again = fraud_call(proof(1));
        refuse(errors, "twice", origin(STRANGER), again, Error::FraudKnown);
        let other = fraud_call(proof(2));
        refuse(errors, "no bond left", origin(STRANGER), other, nothing);
    });
}

#[test]
fn each_bad_call_has_its_own_error_and_leaves_no_trace() {
    let mut errors = Errors::new();
    registrations(&mut errors);
    providers(&mut errors);
    hostings(&mut errors);
    within_hostings(&mut errors);
    timings(&mut errors);
    phases(&mut errors);
    challenges(&mut errors);
    reports(&mut errors);
    answers(&mut errors);
    false_receipts(&mut errors);
    // By the metadata there is no other.
    let mut all = Errors::new();
    let mut note = |pallet: usize, names: BTreeSet<String>| {
        all.extend(names.into_iter().map(|name| (pallet as u8, name)));
    };
    note(Providers::index(), variants::<ProvidersError>());
    note(Hosting::index(), variants::<HostingError>());
    note(Performance::index(), variants::<Error>());
    let never: Vec<_> = all.difference(&errors).collect();
    assert!(never.is_empty(), "no call was refused with {never:?}");
}
