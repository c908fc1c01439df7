/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the witness of a group under `fence-level witness` is asked, and what it grants: one volume, its
 * primary, the hub. Names are those of the code (daemon/path/witness.cpp, daemon/group_witness.cpp). The
 * lease and the bracket are in cascade.pml; here a primary that is cut off may go on alone as soon as it
 * is let, and comes back at once.
 *
 * A petition may arrive at any time after it was sent, or never, and so may its withdrawal; only its
 * answer can't be heard any more by who has given it up, since its connection is closed.
 *
 *   I5  a volume does not go on alone from the generation from which the hub was promoted
 *
 * `run` beside this file checks that it holds, and that it does not once a rule is left out:
 *   NO_WITNESS       what is asked is granted
 *   NO_ORDER         what comes late is taken for news
 *   ONE_GRANT        what is granted to one party takes the place of what the other one was granted
 *   NO_LAST_LOOK     a hub is promoted though the volume has come back since it asked
 */

#ifndef PETITIONS
#define PETITIONS 3	/* of each party */
#endif
#define GENERATIONS 4
#define NET 3		/* messages under way at a time */

#define NONE 0
#define PRIMARY 1
#define HUB 2

#define IDLE 0
#define WAITING 1
#define WITHDRAWING 2

/* ---- the volume, its primary, the hub */

byte generation = 1;		/* of the volume, on its primary */
byte made = 1;			/* generations so far */
byte copy = 1;			/* generation that the hub's copy is of */
bool cut;			/* the primary has no hub, and its lease is over */
bool alone;
byte alone_from;		/* generation from which it went alone last */
bool promoted;
byte promoted_from;

byte state[3];			/* of who asks, by party */
byte number[3];			/* of his last petition */
byte asked_from;		/* generation that the hub has asked from */

/* ---- the network */

byte kind[NET];			/* NONE, PETITION, WITHDRAWAL */
byte maker[NET], name[NET], from[NET];
#define PETITION 1
#define WITHDRAWAL 2

/* The answer to the last petition, until who asked has it or has given it up. */
byte answer[3];
#define GRANTED 1
#define REFUSED 2
#define HEARD 3			/* that it is withdrawn */

/* ---- the witness */

byte granted[3];		/* generation, by party; NONE */
byte last[3];			/* name of his petition, asked or withdrawn, last */

byte m, other;			/* of one step */

#define SPLIT (promoted && alone && alone_from == promoted_from)

inline send(what, who, generation_) {
	if
	:: kind[0] == NONE -> m = 0
	:: kind[0] != NONE && kind[1] == NONE -> m = 1
	:: kind[0] != NONE && kind[1] != NONE -> m = 2
	fi;
	/* One more than the network takes is lost. */
	if
	:: kind[m] == NONE ->
		kind[m] = what; maker[m] = who; name[m] = number[who]; from[m] = generation_
	:: else
	fi;
	m = 0
}

inline ask(who, generation_) {
	number[who]++;
	state[who] = WAITING;
	answer[who] = NONE;
	send(PETITION, who, generation_)
}

/* To one that still waits for it. */
inline say(who, name_, what) {
	if
	:: number[who] == name_ && ((state[who] == WAITING && what != HEARD) || (state[who] == WITHDRAWING && what == HEARD)) ->
		answer[who] = what
	:: else
	fi
}

inline take_petition(m) {
	other = 3 - maker[m];
	if
#ifndef NO_ORDER
	:: name[m] < last[maker[m]] || (name[m] == last[maker[m]] && granted[maker[m]] != from[m]) ->
		say(maker[m], name[m], REFUSED)
	:: else ->
#else
	:: true ->
#endif
		if
#ifndef NO_WITNESS
		:: granted[other] == from[m] -> say(maker[m], name[m], REFUSED)
		:: else ->
#else
		:: true ->
#endif
			granted[maker[m]] = from[m];
			last[maker[m]] = name[m];
#ifdef ONE_GRANT
			granted[other] = NONE;
#endif
			say(maker[m], name[m], GRANTED)
		fi
	fi
}

inline take_withdrawal(m) {
	if
#ifndef NO_ORDER
	:: name[m] >= last[maker[m]] ->
#else
	:: true ->
#endif
		granted[maker[m]] = NONE;
		last[maker[m]] = name[m]
	:: else
	fi;
	say(maker[m], name[m], HEARD)
}

inline drop(which) {
	kind[which] = NONE; maker[which] = NONE; name[which] = 0; from[which] = NONE
}

inline arrive() {
	if
	:: kind[m] == PETITION -> take_petition(m)
	:: else -> take_withdrawal(m)
	fi;
	drop(m);
	m = 0; other = 0
}

active proctype world() {
	do
	/* the network */
	:: d_step { kind[0] != NONE -> m = 0; arrive() }
	:: d_step { kind[1] != NONE -> m = 1; arrive() }
	:: d_step { kind[2] != NONE -> m = 2; arrive() }
	:: d_step { kind[0] != NONE -> drop(0) }
	:: d_step { kind[1] != NONE -> drop(1) }
	:: d_step { kind[2] != NONE -> drop(2) }

	/* the primary and its hub */
	:: d_step { !cut && !alone && !promoted -> cut = true }
	:: d_step { cut && !alone && !promoted -> cut = false }
	:: d_step { alone && !promoted ->
		alone = false; cut = false; copy = generation }

	/* RingFeed::wants_alone(), GroupNode::let_go_alone() */
	:: d_step { cut && !alone && state[PRIMARY] == IDLE && number[PRIMARY] < PETITIONS ->
		ask(PRIMARY, generation) }
	:: d_step { state[PRIMARY] == WAITING && answer[PRIMARY] == GRANTED ->
		answer[PRIMARY] = NONE;
		if
		:: cut && !alone && made < GENERATIONS ->
			alone = true; alone_from = generation;
			made++; generation = made; state[PRIMARY] = IDLE;
			assert(!SPLIT)
		:: else -> state[PRIMARY] = WITHDRAWING
		fi }
	:: d_step { state[PRIMARY] == WAITING && answer[PRIMARY] == REFUSED ->
		answer[PRIMARY] = NONE; state[PRIMARY] = IDLE }
	:: d_step { state[PRIMARY] == WAITING -> state[PRIMARY] = WITHDRAWING; answer[PRIMARY] = NONE }

	/* GroupNode::ask_to_be_promoted(); a crash is to give it up, too */
	:: d_step { !promoted && state[HUB] == IDLE && number[HUB] < PETITIONS ->
		asked_from = copy;
		ask(HUB, copy) }
	:: d_step { state[HUB] == WAITING && answer[HUB] == GRANTED ->
		answer[HUB] = NONE;
		if
#ifndef NO_LAST_LOOK
		:: asked_from != copy -> state[HUB] = WITHDRAWING
		:: else ->
#else
		:: true ->
#endif
			promoted = true; promoted_from = copy; state[HUB] = IDLE;
			assert(!SPLIT)
		fi }
	:: d_step { state[HUB] == WAITING && answer[HUB] == REFUSED ->
		answer[HUB] = NONE; state[HUB] = IDLE }
	:: d_step { state[HUB] == WAITING -> state[HUB] = WITHDRAWING; answer[HUB] = NONE }

	/* GroupNode::withdraw(), again and again */
	:: d_step { state[PRIMARY] == WITHDRAWING -> send(WITHDRAWAL, PRIMARY, NONE) }
	:: d_step { state[HUB] == WITHDRAWING -> send(WITHDRAWAL, HUB, NONE) }
	:: d_step { state[PRIMARY] == WITHDRAWING && answer[PRIMARY] == HEARD ->
		answer[PRIMARY] = NONE; state[PRIMARY] = IDLE }
	:: d_step { state[HUB] == WITHDRAWING && answer[HUB] == HEARD ->
		answer[HUB] = NONE; state[HUB] = IDLE }
	od;
}
