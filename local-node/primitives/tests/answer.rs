//! What answers a demand, and what does not (challenge.md §5).

use datdot_primitives::{
    answer::{check, Answer, AnswerError, Demanded, MAX_DEMANDED_CHUNK},
    head::{Feed, Head},
    multiproof::MultiproofError,
    tree::{self, Node, Root},
};
use sp_core::{ed25519, Pair};

const FORK: u64 = 2;

fn author() -> ed25519::Pair {
    ed25519::Pair::from_seed(&[1; 32])
}

fn feed() -> Feed {
    Feed::new(author().public().0, None).unwrap()
}

fn leaf(bytes: &[u8]) -> Node {
    Node {
        hash: tree::leaf_hash(bytes),
        size: bytes.len() as u64,
    }
}

/// The head of a feed of three chunks, the second of which has these bytes.
fn head(chunk: &[u8]) -> Head {
    let roots = [
        Root {
            index: 1,
            node: tree::parent(&leaf(b"first"), &leaf(chunk)).unwrap(),
        },
        Root {
            index: 4,
            node: leaf(b"last"),
        },
    ];
    Head {
        fork: FORK,
        length: 3,
        tree_hash: tree::tree_hash(&roots),
    }
}

fn sign(head: &Head) -> [u8; 64] {
    author().sign(&feed().signable(head)).0
}

/// The second chunk, under that head.
fn chunk(bytes: &[u8]) -> Answer {
    Answer::Chunk {
        bytes: bytes.to_vec().try_into().unwrap(),
        length: 3,
        head_signature: sign(&head(bytes)),
        sizes: vec![bytes.len() as u32].try_into().unwrap(),
        nodes: vec![leaf(b"first"), leaf(b"last")].try_into().unwrap(),
    }
}

/// The author's head of another fork.
fn rewritten(fork: u64) -> Answer {
    let head = Head {
        fork,
        length: 1,
        tree_hash: [8; 32],
    };
    Answer::Rewritten {
        fork,
        length: head.length,
        tree_hash: head.tree_hash,
        head_signature: sign(&head),
    }
}

/// The second chunk of a feed of which the hoster vouched for so many.
fn demanded(length: u64) -> Demanded {
    Demanded {
        feed: feed(),
        fork: FORK,
        length,
        chunk: 1,
    }
}

fn answered(answer: &Answer) -> Result<Head, AnswerError> {
    check(answer, &demanded(3), |_| false)
}

#[test]
fn the_chunk_answers_under_a_head_at_least_as_long_as_vouched() {
    let answer = chunk(b"second");
    for vouched in [2, 3] {
        let checked = check(&answer, &demanded(vouched), |_| false);
        assert_eq!(checked, Ok(head(b"second")));
    }
    assert_eq!(
        check(&answer, &demanded(4), |_| false),
        Err(AnswerError::TooShort)
    );
}

#[test]
fn the_largest_chunk_that_can_be_vouched_for_fits() {
    assert_eq!(MAX_DEMANDED_CHUNK, 131_072);
    let largest = vec![7; 131_072];
    assert_eq!(answered(&chunk(&largest)), Ok(head(&largest)));
}

#[test]
fn each_part_of_a_chunk_s_answer_counts() {
    let spoilt = |change: fn(&mut Answer)| {
        let mut answer = chunk(b"second");
        change(&mut answer);
        answered(&answer)
    };
    macro_rules! with {
        ($part:ident, $change:expr) => {
            spoilt(|answer| {
                let Answer::Chunk { $part, .. } = answer else {
                    unreachable!()
                };
                $change
            })
        };
    }
    use AnswerError as E;
    assert_eq!(with!(sizes, sizes[0] += 1), Err(E::WrongSize));
    assert_eq!(with!(sizes, sizes.clear()), Err(E::WrongSize));
    assert_eq!(with!(sizes, sizes.force_push(0)), Err(E::WrongSize));
    assert_eq!(with!(bytes, bytes[0] ^= 1), Err(E::WrongHeadSignature));
    assert_eq!(with!(nodes, nodes[1].size += 1), Err(E::WrongHeadSignature));
    assert_eq!(
        with!(nodes, nodes.truncate(1)),
        Err(E::Multiproof(MultiproofError::TooFewNodes))
    );
    assert_eq!(
        with!(head_signature, head_signature[0] ^= 1),
        Err(E::WrongHeadSignature)
    );
    // The author's signature on the same tree in another fork.
    let other = Demanded {
        fork: FORK + 1,
        ..demanded(3)
    };
    assert_eq!(
        check(&chunk(b"second"), &other, |_| false),
        Err(E::WrongHeadSignature)
    );
    // Another chunk than the demanded one.
    let other = Demanded {
        chunk: 0,
        ..demanded(3)
    };
    assert_eq!(
        check(&chunk(b"second"), &other, |_| false),
        Err(E::WrongHeadSignature)
    );
}

#[test]
fn the_author_s_head_of_a_higher_fork_answers() {
    assert_eq!(answered(&rewritten(FORK + 1)).unwrap().fork, FORK + 1);
    for fork in [0, FORK] {
        assert_eq!(answered(&rewritten(fork)), Err(AnswerError::ForkNotHigher));
    }
    let mut forged = rewritten(FORK + 1);
    if let Answer::Rewritten { length, .. } = &mut forged {
        *length += 1;
    }
    assert_eq!(answered(&forged), Err(AnswerError::WrongHeadSignature));
}

#[test]
fn a_head_that_was_verified_before_needs_no_signature() {
    let known = head(b"second");
    let mut answer = chunk(b"second");
    if let Answer::Chunk { head_signature, .. } = &mut answer {
        *head_signature = [0; 64];
    }
    let checked = check(&answer, &demanded(3), |head| *head == known);
    assert_eq!(checked, Ok(known));
    let other = head(b"other");
    assert_eq!(
        check(&answer, &demanded(3), |head| *head == other),
        Err(AnswerError::WrongHeadSignature)
    );
}
