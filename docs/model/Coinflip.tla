------------------------------ MODULE Coinflip ------------------------------
(***************************************************************************)
(* The coinflip of known, possibly Byzantine attestors: attempts, retries, *)
(* anchor and fallback (coinflip.md §2 to §5).                             *)
(*                                                                         *)
(* A run is one honest member's machine in one attempt. Every step is what *)
(* the machine of offchain_worker/coinflip/machine.py does: one input,     *)
(* then `Advance`. Guards have the names they have there, in this          *)
(* language's spelling. README.md says what is left out, and why that      *)
(* hides nothing.                                                          *)
(*                                                                         *)
(* The network: what an honest member has signed may reach anybody at any  *)
(* time, or never (`sent` of its run). What a Byzantine member can sign,   *)
(* it may have signed: it may reach anybody at any time, too.              *)
(***************************************************************************)
EXTENDS Naturals, FiniteSets, TLC

CONSTANTS
    Honest,         \* seats that follow the rules
    Byzantine,      \* seats that sign whatever their keys allow
    Variants,       \* the values that a Byzantine seat commits to
    MinActive,      \* min_active of the challenge's Timing
    LastAttempt,    \* attempts are 0 .. LastAttempt
    Dropped,        \* names of guards left out: {} but for the negative controls
    None,           \* nothing
    Sole,           \* the one commitment of an honest seat
    Zero,           \* echo(0)
    Mine,           \* an echo of the root that I echoed
    Other           \* an echo of another root, or of any while I have none

VARIABLES
    run,            \* of each honest seat, of each attempt: its machine
    rosters,        \* of each attempt: its members, None until the chain has fixed them
    fixed,          \* of each attempt: what Byzantine seats had committed to when the first
                    \* honest x left; None before
    chain           \* flip: the anchored result; frozen, committed, drawn: the fallback

vars == <<run, rosters, fixed, chain>>

Seats == Honest \cup Byzantine
Attempts == 0 .. LastAttempt
Symmetry == Permutations(Honest) \cup Permutations(Byzantine) \cup Permutations(Variants)

Has(guard) == guard \notin Dropped

\* Where a member's clock stands in an attempt. Each member has its own clock.
NotBegun == 0
BeforeTc == 1
BeforeTe == 2
BeforeTf == 3
BeforeTx == 4
Over == 5

Empty == [commit |-> {}, echo |-> {}, reveal |-> {}]

Blank(p, a, roster) ==
    [me |-> p,
     attempt |-> a,
     roster |-> roster,
     phase |-> NotBegun,
     own |-> Empty,                                 \* what I know that I signed: the journal
     sent |-> Empty,                                \* what I ever signed, journal lost or not
     commits |-> [m \in roster |-> None],           \* the first commit held of each member
     echoes |-> {},                                 \* pairs of member and Mine, Other or Zero
     openings |-> [m \in roster |-> None],          \* the reveals that fit
     evidence |-> {},                               \* members caught
     outcome |-> None,
     result |-> None,
     secrets |-> 0,                                 \* which, of those drawn in this topic
     silenced |-> FALSE,
     cautious |-> FALSE,                            \* the journal may be of an earlier state
     retry |-> FALSE]                               \* MayRetry when the attempt was over

Init ==
    /\ run = [p \in Honest |-> [a \in Attempts |-> Blank(p, a, IF a = 0 THEN Seats ELSE {})]]
    /\ rosters = [a \in Attempts |-> IF a = 0 THEN Seats ELSE None]
    /\ fixed = [a \in Attempts |-> None]
    /\ chain = [flip |-> None, frozen |-> None, committed |-> {}, drawn |-> None]

-----------------------------------------------------------------------------
(* What a machine knows *)

Running(s) == s.phase \in BeforeTc .. BeforeTx

Complete(s) == \A m \in s.roster : s.commits[m] # None

GaveUp(s) == Zero \in s.own.echo

\* The root that I echoed. A root is written as the vector it binds.
Root(s) ==
    IF ~Has("echo phase")
    THEN IF Complete(s) THEN s.commits ELSE None
    ELSE IF s.own.echo \ {Zero} = {} THEN None ELSE CHOOSE r \in s.own.echo \ {Zero} : TRUE

HasCertificate(s) ==
    /\ Root(s) # None
    /\ Has("echo phase") => \A m \in s.roster : <<m, Mine>> \in s.echoes

\* The second condition of §3, an echo(0) or two different roots in hand. Who came too late to
\* commit may have heard of them.
NoCertificateIsProven(s) ==
    \/ GaveUp(s)
    \/ s.own.commit = {}
    \/ \E e \in s.echoes : e[2] \in {Zero, Other}

MayRetry(s) ==
    /\ Has("silenced stays out") => ~s.silenced
    /\ Has("certificate bars") => ~HasCertificate(s) /\ s.own.reveal = {}
    /\ Has("caution bars") => (s.cautious => GaveUp(s))
    /\ Has("proof to retry") => NoCertificateIsProven(s)

-----------------------------------------------------------------------------
(* Guards: safety rests on these *)

MaySign(s, kind) ==
    /\ ~s.silenced
    /\ s.own[kind] = {}
    /\ Has("caution") => ~(s.cautious /\ kind = "echo")

MayCommit(s) ==
    /\ MaySign(s, "commit")
    /\ s.phase = BeforeTc

MayEcho(s) ==
    /\ IF Has("echo once") THEN MaySign(s, "echo") ELSE ~s.silenced
    /\ s.own.commit # {}
    /\ Has("echo in time") => s.phase <= BeforeTe
    /\ Has("no evidence") => s.evidence = {}
    /\ Complete(s)
    /\ s.commits \notin s.own.echo

MayReveal(s) ==
    /\ MaySign(s, "reveal")
    /\ IF Has("certificate") THEN HasCertificate(s) ELSE Root(s) # None
    /\ Has("reveal in time") => s.phase <= BeforeTf

MustGiveUp(s) ==
    /\ Has("give up")
    /\ IF Has("give up once") THEN MaySign(s, "echo") ELSE ~s.silenced
    /\ s.own.commit # {}
    /\ ~GaveUp(s)
    /\ \/ s.evidence # {}
       \/ s.phase > BeforeTe
       \/ s.phase = BeforeTe /\ ~\E e \in s.echoes : e[2] # Zero

Fits(s, m, v) == Has("fits") => v = s.commits[m]

CertificateIsImpossible(s) ==
    /\ ~HasCertificate(s)
    /\ \E m \in s.roster : IF m = s.me THEN s.own.echo = {Zero}
                           ELSE {e[2] : e \in {f \in s.echoes : f[1] = m}} = {Zero}

-----------------------------------------------------------------------------
(* Progress: what the machine does after every input *)

Sign(s, kind, body) ==
    [s EXCEPT !.own[kind] = @ \cup {body}, !.sent[kind] = @ \cup {body}]

Commit(s) == [Sign(s, "commit", s.secrets) EXCEPT !.commits[s.me] = Sole]

\* Echoes heard before are compared with my root now. Here they are heard again instead.
Echo(s) ==
    [Sign(s, "echo", s.commits) EXCEPT
        !.echoes = {e \in @ : e[2] = Zero} \cup {<<s.me, Mine>>}]

GiveUp(s) == Sign(s, "echo", Zero)

Reveal(s) == [Sign(s, "reveal", Root(s)) EXCEPT !.openings[s.me] = Sole]

Combine(s) ==
    IF /\ s.result = None
       /\ ~s.silenced
       /\ HasCertificate(s)
       /\ \A m \in s.roster : s.openings[m] # None
    THEN [s EXCEPT !.result = [attempt |-> s.attempt, root |-> Root(s), numbers |-> s.openings],
                   !.outcome = IF @ = None THEN "success" ELSE @]
    ELSE s

Judge(s) ==
    LET late == Has("exit at Tf") /\ s.phase >= BeforeTx
    IN  IF s.outcome # None THEN s
        ELSE IF s.evidence # {} /\ (late \/ CertificateIsImpossible(s))
             THEN [s EXCEPT !.outcome = "malicious"]
        ELSE IF late THEN [s EXCEPT !.outcome = "offline"]
        ELSE s

Advance(s) ==
    LET s0 == IF MayCommit(s) THEN Commit(s) ELSE s
        s1 == IF Has("echo phase")
              THEN IF MayEcho(s0) THEN Echo(s0) ELSE IF MustGiveUp(s0) THEN GiveUp(s0) ELSE s0
              ELSE s0
        s2 == IF MayReveal(s1) THEN Reveal(s1) ELSE s1
    IN  Judge(Combine(s2))

(***************************************************************************)
(* What can change nothing any more is forgotten, so that fewer states     *)
(* differ: README.md, "What is forgotten".                                 *)
(***************************************************************************)
Later(phase, bound) == IF phase < bound THEN bound ELSE phase

SignsNoMore(s) ==
    /\ Has("echo once") /\ Has("give up once") /\ Has("silence")
    /\ \/ s.silenced
       \/ GaveUp(s)
       \/ s.own.commit = {} /\ ~MayCommit(s)
       \/ s.cautious /\ s.own.echo = {} /\ Has("caution") /\ Has("caution bars")

Closed(s) ==
    LET nothing == [m \in s.roster |-> None]
    IN  [s EXCEPT !.own = Empty, !.commits = nothing, !.echoes = {}, !.openings = nothing,
                  !.evidence = {}, !.silenced = FALSE, !.cautious = FALSE,
                  !.outcome = IF @ # None /\ s.result = None THEN "offline" ELSE @]

Forget(s) ==
    IF s.phase = Over THEN Closed(s)
    ELSE IF s.result # None /\ s.sent.reveal # {}
         THEN Closed([s EXCEPT !.phase = Over, !.retry = MayRetry(s)])
    ELSE IF SignsNoMore(s)
         THEN [s EXCEPT !.phase = Later(@, BeforeTf),
                        !.own = IF GaveUp(s) THEN @ ELSE Empty,
                        !.silenced = (@ \/ s.cautious) /\ ~GaveUp(s),
                        !.cautious = FALSE,
                        !.commits = [m \in s.roster |-> None],
                        !.echoes = {},
                        !.openings = [m \in s.roster |-> None],
                        !.evidence = {}]
    ELSE [s EXCEPT !.phase = IF s.own.echo # {} /\ Has("echo once") /\ Has("give up once")
                             THEN Later(@, BeforeTf) ELSE @,
                   !.cautious = @ /\ ~(s.own.reveal # {} /\ Has("certificate bars")),
                   !.echoes = IF HasCertificate(s) /\ Has("certificate bars")
                              THEN {e \in @ : e[2] = Mine} ELSE @,
                   !.evidence = {}]

-----------------------------------------------------------------------------
(* Evidence: what the chain accepts against a member *)

SignedTwo(sent) == \E kind \in DOMAIN sent : Cardinality(sent[kind]) > 1

\* A Byzantine member can contradict itself at any time, and anybody may report it.
Provable(m, a) ==
    IF m \in Byzantine
    THEN TRUE
    ELSE \/ SignedTwo(run[m][a].sent)
         \/ ~Has("two bodies") /\ run[m][a].sent.commit # {}

-----------------------------------------------------------------------------
(* Inputs of a machine *)

\* The machine's step from s, and whether an honest x has now left.
Step(p, a, s) ==
    LET t == Forget(Advance(s))
        others == {run[q][a] : q \in Honest \ {p}}
        held(b) == {r.commits[b] : r \in {x \in others \cup {t} : b \in x.roster}}
                   \cup (IF b \in s.roster THEN {s.commits[b]} ELSE {})
    IN  /\ run' = [run EXCEPT ![p][a] = t]
        /\ fixed' = IF fixed[a] = None /\ t.sent.reveal # {}
                    THEN [fixed EXCEPT ![a] =
                            {<<b, v>> \in Byzantine \X Variants : v \in held(b)}]
                    ELSE fixed

\* In time to commit, or too late for it.
Begin(p, a, s) ==
    \E phase \in {BeforeTc, BeforeTe} : Step(p, a, [s EXCEPT !.phase = phase])

HearCommit(s, m, v) == [s EXCEPT !.commits[m] = v]

\* Before my own echo all that counts is whether anybody has echoed a root.
HearOfEcho(s) == [s EXCEPT !.echoes = {<<s.me, Other>>}]

HearEcho(s, m, token) == [s EXCEPT !.echoes = @ \cup {<<m, token>>}]

HearReveal(s, m, v) == [s EXCEPT !.openings[m] = v]

HearEvidence(s, m) == [s EXCEPT !.evidence = @ \cup {m}]

Token(s, body) == IF body = Zero THEN Zero ELSE IF body = Root(s) THEN Mine ELSE Other

(***************************************************************************)
(* An envelope that has no effect yet is heard later, when it has one; a   *)
(* second commit, a second echo and a reveal that does not fit are heard   *)
(* as the evidence that they make.                                         *)
(***************************************************************************)
Hear(p, a) ==
    LET s == run[p][a]
        honest == (s.roster \cap Honest) \ {p}
        hostile == s.roster \cap Byzantine
        committed == Running(s) /\ ~s.silenced /\ s.own.commit # {}
        vector == committed /\ (s.own.echo = {} \/ ~Has("echo once") \/ ~Has("echo phase"))
        echoed == committed /\ Has("echo phase") /\ Root(s) # None /\ ~HasCertificate(s)
        revealed == committed /\ HasCertificate(s)
    IN  \/ /\ vector
           /\ \/ \E q \in honest :
                    /\ s.commits[q] = None
                    /\ run[q][a].sent.commit # {}
                    /\ Step(p, a, HearCommit(s, q, Sole))
              \/ \E b \in hostile, v \in Variants :
                    /\ s.commits[b] = None
                    /\ Step(p, a, HearCommit(s, b, v))
        \/ /\ vector
           /\ s.own.echo = {} /\ s.echoes = {}
           /\ \/ hostile # {}
              \/ \E q \in honest : run[q][a].sent.echo \ {Zero} # {}
           /\ Step(p, a, HearOfEcho(s))
        \/ /\ echoed
           /\ \/ \E q \in honest : \E body \in run[q][a].sent.echo :
                    LET token == Token(s, body)
                    IN  /\ <<q, token>> \notin s.echoes
                        /\ Step(p, a, HearEcho(s, q, token))
              \/ \E b \in hostile, token \in {Mine, Zero} :
                    /\ <<b, token>> \notin s.echoes
                    /\ Step(p, a, HearEcho(s, b, token))
        \/ /\ revealed
           /\ \/ \E q \in honest :
                    /\ s.openings[q] = None
                    /\ run[q][a].sent.reveal # {}
                    /\ Step(p, a, HearReveal(s, q, Sole))
              \/ \E b \in hostile, v \in Variants :
                    /\ s.openings[b] = None
                    /\ Fits(s, b, v)
                    /\ Step(p, a, HearReveal(s, b, v))
        \/ /\ committed
           /\ s.outcome = None
           /\ s.own.echo = {} \/ CertificateIsImpossible(s)
           /\ \E m \in s.roster \ {p} :
                /\ Provable(m, a)
                /\ Step(p, a, HearEvidence(s, m))

\* At Tf the exit depends on whether evidence is in hand: it may have come at any time before.
Tick(p, a) ==
    LET s == run[p][a]
        t == [s EXCEPT !.phase = @ + 1]
        caught == {m \in s.roster \ {p} : Provable(m, a)}
    IN  /\ Running(s)
        /\ \/ Step(p, a, [t EXCEPT !.retry = t.phase = Over /\ MayRetry(s)])
           \/ /\ t.phase = BeforeTx /\ s.outcome = None
              /\ \E m \in caught : Step(p, a, HearEvidence(t, m))

\* The journal gives back secrets, what I signed, and what that rested on; or, when it was set
\* back, an earlier state of this.
Restart(p, a) ==
    LET s == run[p][a]
        Earlier == {s.own,
                    [s.own EXCEPT !.reveal = {}],
                    [s.own EXCEPT !.reveal = {}, !.echo = {}],
                    Empty}
    IN  /\ Running(s)
        /\ ~s.silenced
        /\ s.own.commit # {}
        /\ \E own \in Earlier :
            LET blank == [Blank(p, a, s.roster) EXCEPT
                            !.phase = s.phase, !.own = own, !.sent = s.sent,
                            !.secrets = s.secrets, !.cautious = TRUE]
                me(m) == IF m = p /\ own.commit # {} THEN Sole ELSE None
                root == Root(blank)
                supporters == IF own.reveal # {} THEN s.roster ELSE {p}
            IN  Step(p, a, [blank EXCEPT
                    !.commits = IF root # None THEN root ELSE [m \in s.roster |-> me(m)],
                    !.echoes = IF root # None THEN {<<m, Mine>> : m \in supporters} ELSE {},
                    !.openings = [m \in s.roster |-> IF own.reveal # {} THEN me(m) ELSE None]])

\* A restart with a journal that does not know the topic: silence in it.
LoseJournal(p, a) ==
    LET s == run[p][a]
    IN  /\ Running(s)
        /\ ~s.silenced
        /\ s.own.commit # {}
        /\ Step(p, a, [Blank(p, a, s.roster) EXCEPT
                        !.phase = s.phase, !.sent = s.sent, !.secrets = s.secrets + 1,
                        !.silenced = Has("silence")])

\* The chain has R.
Anchored(p, a) ==
    LET s == run[p][a]
    IN  /\ Running(s)
        /\ chain.flip # None
        /\ chain.flip.attempt = a
        /\ s.result = None
        /\ Step(p, a, [s EXCEPT !.result = chain.flip,
                                !.outcome = IF @ = None THEN "success" ELSE @])

-----------------------------------------------------------------------------
(* Attempts *)

\* What p's machines have seen of the attempts before a lets it join a.
BarredFrom(p, a) ==
    \E e \in 0 .. a - 1 :
        LET s == run[p][e]
        IN  \/ s.phase = Over /\ ~s.retry
            \/ s.phase # Over /\ Has("retry after Tx")
            \/ s.phase < BeforeTx /\ Has("retry after Tf")
            \/ s.phase # Over /\ (s.outcome = None \/ ~MayRetry(s))

\* The chain fixes the roster of attempt a: without who was expelled long enough before.
RosterOf(a) ==
    IF rosters[a] # None THEN {rosters[a]}
    ELSE {r \in SUBSET rosters[a - 1] :
            /\ Cardinality(r) >= MinActive
            /\ \A m \in rosters[a - 1] \ r : \E e \in 0 .. a - 1 : Provable(m, e)}

Join(p, a) ==
    /\ run[p][a].phase = NotBegun
    /\ IF a = 0
       THEN Begin(p, a, run[p][a]) /\ UNCHANGED rosters
       ELSE /\ rosters[a - 1] # None
            /\ ~BarredFrom(p, a)
            /\ \E r \in RosterOf(a) :
                /\ p \in r
                /\ rosters' = [rosters EXCEPT ![a] = r]
                /\ Begin(p, a, Blank(p, a, r))

Machine(p, a) ==
    /\ UNCHANGED rosters
    /\ Hear(p, a) \/ Tick(p, a) \/ Restart(p, a) \/ LoseJournal(p, a) \/ Anchored(p, a)

-----------------------------------------------------------------------------
(* The chain *)

\* anchor_flip rebuilds every y and the root from the openings and checks all echoes.
MayAnchor(a, r) ==
    \A h \in rosters[a] \cap Honest :
        /\ run[h][a].sent.reveal # {}
        /\ Has("all echoes") => r \in run[h][a].sent.echo

Vectors(roster) ==
    {r \in [roster -> Variants \cup {Sole}] : \A m \in roster : r[m] = Sole <=> m \in Honest}

Anchor(a) ==
    /\ rosters[a] # None
    /\ chain.flip = None
    /\ Has("nothing after F") => chain.frozen = None
    /\ \E r \in Vectors(rosters[a]) :
        /\ MayAnchor(a, r)
        /\ chain' = [chain EXCEPT !.flip = [attempt |-> a, root |-> r, numbers |-> r]]
    /\ UNCHANGED <<run, rosters, fixed>>

\* Block F. From here on nothing off chain counts, so it is forgotten.
FallBack ==
    /\ chain.flip = None
    /\ chain.frozen = None
    /\ \E r \in SUBSET Seats :
        /\ \A m \in Seats \ r : \E a \in Attempts : Provable(m, a)
        /\ \A a \in Attempts : rosters[a] # None => r \subseteq rosters[a]
        /\ chain' = [chain EXCEPT !.frozen = r,
                                  !.drawn = IF Cardinality(r) < MinActive THEN {} ELSE None]
    /\ IF Has("nothing after F")
       THEN /\ run' = [p \in Honest |-> [a \in Attempts |-> Blank(p, a, {})]]
            /\ rosters' = [a \in Attempts |-> None]
            /\ fixed' = [a \in Attempts |-> None]
       ELSE UNCHANGED <<run, rosters, fixed>>

MayCommitFlip(m) ==
    /\ chain.frozen # None
    /\ m \in chain.frozen \ chain.committed
    /\ Has("nothing after C") => chain.drawn = None

CommitFlip(m) ==
    /\ MayCommitFlip(m)
    /\ chain' = [chain EXCEPT !.committed = @ \cup {m}]
    /\ UNCHANGED <<run, rosters, fixed>>

\* Block C: the chain's randomness becomes known. R is of who has committed; Void when too few.
Draw ==
    /\ chain.frozen # None
    /\ chain.drawn = None
    /\ chain' = [chain EXCEPT !.drawn =
                    IF Cardinality(chain.committed) < MinActive THEN {} ELSE chain.committed]
    /\ UNCHANGED <<run, rosters, fixed>>

Decided == chain.flip # None \/ chain.drawn # None

Finished ==
    /\ Decided
    /\ chain.frozen # None \/ \A p \in Honest, a \in Attempts : ~Running(run[p][a])
    /\ UNCHANGED vars

Next ==
    \/ /\ chain.frozen = None
       /\ \E p \in Honest, a \in Attempts :
            \/ Join(p, a) /\ UNCHANGED chain
            \/ Machine(p, a) /\ UNCHANGED chain
    \/ \E a \in Attempts : Anchor(a)
    \/ FallBack
    \/ \E m \in Seats : CommitFlip(m)
    \/ Draw
    \/ Finished

Spec == Init /\ [][Next]_vars

-----------------------------------------------------------------------------
(* Invariants, by their letters in coinflip.md §9 *)

Results ==
    ({run[p][a].result : p \in Honest, a \in Attempts} \cup {chain.flip}) \ {None}

\* All honest successes are one, and it is the anchored one. What the chain decided stays.
A ==
    /\ Cardinality(Results) <= 1
    /\ ~(chain.flip # None /\ chain.frozen # None)

\* Every y of a vector for which an honest x left was fixed when the first honest x left; every
\* z of a fallback was fixed before the chain's randomness could be known.
U ==
    /\ \A p \in Honest, a \in Attempts : \A r \in run[p][a].sent.reveal :
        \A b \in DOMAIN r \cap Byzantine : <<b, r[b]>> \in fixed[a]
    /\ chain.drawn \in {None, {}} \/ chain.drawn = chain.committed

\* No evidence that the chain accepts is against an honest member. (No member takes other.)
B == \A p \in Honest, a \in Attempts : ~Provable(p, a)

\* Every honest member's run has its exit from Tf on.
T == \A p \in Honest, a \in Attempts : run[p][a].phase >= BeforeTx => run[p][a].outcome # None

-----------------------------------------------------------------------------
(* What must be reachable, stated as if it were not: the model is not empty *)

NeverAnchored == chain.flip = None
NeverAnchoredAfterRetry == chain.flip # None => chain.flip.attempt = 0
NeverAnchoredWithoutExpelled ==
    chain.flip # None => DOMAIN chain.flip.root = Seats
NeverMalicious == \A p \in Honest, a \in Attempts : run[p][a].outcome # "malicious"
NeverLearntFromChain ==
    ~\E p \in Honest : run[p][0].result # None /\ run[p][0].outcome = "offline"
NeverFallback == chain.drawn \in {None, {}}
NeverVoid == chain.drawn # {}
=============================================================================
