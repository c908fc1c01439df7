/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Session, lease, bracket, generation and promotion of one group: two primaries with a volume each
 * under `fence-level never`, a hub under `hub-ack sync`, a remote. Names are those of the code
 * (daemon/path/bracket.hpp, lease.hpp, mirror_intake.cpp, kmod/alone.c). spin goes through all orders
 * of all that can happen, with so many writes and partings as the constants say.
 *
 * Each step below is one that the code makes as a whole: it appends a batch, takes a frame, writes a
 * superblock. Time is what may run out at any moment, but for the one thing that the lease promises:
 * a primary's lease never ends before the hub's.
 *
 * The journal's order is not kept: each entry is looked at when it is appended, and what the remote
 * shows is what the hub showed some entries ago.
 *
 * Bracket::Awaited, what a ring has to send first, is not here: under `sync` nobody depends on what the
 * hub has not stored. It is about `memory-sync`, which this model does not have.
 *
 *   I1  what was acknowledged is in the hub's journal, but for what a primary wrote alone
 *   I3  what hub and remote show is closed under "was acknowledged before"
 *   I5  a volume that two nodes wrote to has no session
 *       and: a promotion that says that nothing is lost has lost nothing
 *
 * `run` beside this file checks that they hold, and that they do not once a rule is left out:
 *   EARLY_PRIMARY   a primary's lease may end before the hub's
 *   LATE_MARK       the hub takes writes before it has closed leases that have run out
 *   NO_CONFIRM      a volume is attached before its primary has taken a lease
 *   NO_RESYNC       a volume is attached before what is out of sync has been copied
 *   NO_RESTART_MARK a hub that begins anew trusts the leases that it had given
 *   NO_BRACKET      hub and remote show all that they have
 *   NO_GENERATION   nobody asks whose history it is
 */

#ifndef WRITES
#define WRITES 4	/* of applications; each depends on all that were acknowledged before */
#endif
#ifndef PARTINGS
#define PARTINGS 2	/* how often primaries go on alone */
#endif

#define VOLUMES 2
#define BIT(i) (1 << (i))
#define ALL(set, of) (((of) & ~(set)) == 0)

/* ---- applications */

byte issued;			/* writes so far */
byte acknowledged;		/* a bit for each write */
byte needs[WRITES];		/* what had been acknowledged when it was issued */

/* ---- primaries */

byte ring[VOLUMES];		/* writes that the hub has not acknowledged */
byte out_of_sync[VOLUMES];	/* of which the hub is not known to have the regions */
bool alone[VOLUMES];
bool lease_over[VOLUMES];	/* by the primary's clock */
byte generation[VOLUMES];
byte parent[VOLUMES];

/* ---- sessions, as both ends know them */

bool session[VOLUMES];

/* ---- the hub */

byte stored;			/* writes in its journal */
byte shown;			/* of which its copies hold, outside brackets */
bool leased[VOLUMES];		/* it counts on the primary not to be alone */
bool expired[VOLUMES];		/* that has run out, and the hub has not looked yet */
bool apart[VOLUMES];		/* DETACHED */
bool confirmed[VOLUMES];	/* and its primary has taken a lease since it came back */
byte of_hub[VOLUMES];		/* the generation that the hub's copy is of */
bool promoted;

/* ---- for the properties */

byte generations = 1;		/* made so far */
byte partings;
byte wrote_alone[VOLUMES];	/* by its primary, and the hub lacked it then */
byte at;

#define left_to_look (expired[0] || expired[1])
#ifdef LATE_MARK
#define may_take (!promoted)
#else
#define may_take (!promoted && !left_to_look)
#endif

#ifdef EARLY_PRIMARY
#define may_end(v) (true)
#else
#define may_end(v) (!leased[v] || expired[v])
#endif
#ifdef NO_BRACKET
#define outside_brackets (true)
#else
#define outside_brackets (!apart[0] && !apart[1])
#endif
#ifdef NO_CONFIRM
#define is_confirmed(v) (true)
#else
#define is_confirmed(v) (confirmed[v])
#endif
#ifdef NO_RESYNC
#define is_in_sync(v) (true)
#else
#define is_in_sync(v) (out_of_sync[v] == 0)
#endif
#ifdef NO_GENERATION
#define is_of_its_history(v) (true)
#else
#define is_of_its_history(v) (generation[v] == of_hub[v] || parent[v] == of_hub[v])
#endif

/* I1 */
inline acknowledge(which)
{
	acknowledged = acknowledged | (which);
	assert(ALL(stored | wrote_alone[0] | wrote_alone[1], acknowledged))
}

/* The first write of a set that is not empty. */
inline first(set, i)
{
	i = 0;
	do
	:: (set) & BIT(i) -> break
	:: else -> i++
	od
}

/* An entry has been appended: outside brackets it is shown, by the hub, and later by the remote. */
inline look()
{
	if
	:: outside_brackets ->
		shown = stored;
		at = 0;
		do
		:: at < WRITES ->
			assert(!(shown & BIT(at)) || ALL(shown, needs[at]));	/* I3 */
			at++
		:: else -> break
		od;
		at = 0
	:: else
	fi
}

inline append(i)
{
	stored = stored | BIT(i);
	look()
}

inline detach(v)
{
	apart[v] = true;
	/* Whatever it said before, it has to come back. */
	confirmed[v] = false
}

/* Bracket::arrived(): what was missing is here. */
inline attach_if_whole(v)
{
	if
	:: apart[v] && session[v] && is_confirmed(v) && is_in_sync(v) ->
		apart[v] = false;
		look()
	:: else
	fi
}

inline end_session(v)
{
	session[v] = false;
	confirmed[v] = false
}

/* ---- what happens to a volume */

proctype Volume(bit v)
{
	byte i;

	do
	/* An application writes. */
	:: atomic { issued < WRITES && !promoted ->
		i = issued;
		issued++;
		needs[i] = acknowledged;
		if
		:: alone[v] ->
			out_of_sync[v] = out_of_sync[v] | BIT(i);
			wrote_alone[v] = wrote_alone[v] | BIT(i);
			acknowledge(BIT(i))
		:: else -> ring[v] = ring[v] | BIT(i)
		fi;
		i = 0 }

	/* The hub takes what is in the ring; it has some of it already after a resumed session. */
	:: atomic { session[v] && may_take && (ring[v] & ~stored) ->
		first(ring[v] & ~stored, i);
		append(i);
		i = 0;
		attach_if_whole(v) }

	/* It acknowledges. */
	:: atomic { session[v] && may_take && (ring[v] & stored) ->
		acknowledge(ring[v] & stored);
		ring[v] = ring[v] & ~stored }

	/* A region is copied. */
	:: atomic { session[v] && may_take && apart[v] && out_of_sync[v] ->
		first(out_of_sync[v], i);
		append(i);
		out_of_sync[v] = out_of_sync[v] & ~BIT(i);
		i = 0;
		attach_if_whole(v) }

	/* A session breaks. */
	:: atomic { session[v] -> end_session(v) }

	/* The hub's lease runs out; it looks when it runs. */
	:: atomic { leased[v] && !expired[v] -> expired[v] = true }
	:: atomic { expired[v] && !promoted ->
		expired[v] = false;
		leased[v] = false;
		end_session(v);
		detach(v) }

	/* The primary's runs out after that, and it goes on alone. */
	:: atomic { !lease_over[v] && may_end(v) -> lease_over[v] = true }
	:: atomic { lease_over[v] && !alone[v] && partings < PARTINGS ->
		partings++;
		alone[v] = true;
		end_session(v);
		parent[v] = generation[v];
		generations++;
		generation[v] = generations;
		wrote_alone[v] = wrote_alone[v] | (ring[v] & ~stored);
		out_of_sync[v] = out_of_sync[v] | ring[v];
		acknowledge(ring[v]);
		ring[v] = 0 }

	/* It says hello. A hub of another history refuses. */
	:: atomic { !session[v] && !left_to_look && is_of_its_history(v) ->
		assert(!promoted);	/* I5: somebody else may write to the copies by now */
		of_hub[v] = generation[v];
		parent[v] = 0;
		if
		:: out_of_sync[v] -> detach(v)
		:: else
		fi;
		session[v] = true;
		confirmed[v] = false;
		alone[v] = false }

	/* It takes a lease, and echoes it. */
	:: atomic { session[v] && may_take && !expired[v] && (!leased[v] || lease_over[v] || !confirmed[v]) ->
		leased[v] = true;
		lease_over[v] = false;
		confirmed[v] = true;
		attach_if_whole(v) }
	od
}

proctype Hub()
{
	do
	/* It crashes, and is there again with what its journal holds. */
	:: atomic { !promoted ->
		end_session(0);
		end_session(1);
#ifndef NO_RESTART_MARK
		if
		:: leased[0] -> detach(0)
		:: else
		fi;
		if
		:: leased[1] -> detach(1)
		:: else
		fi;
#endif
		leased[0] = false;
		leased[1] = false;
		expired[0] = false;
		expired[1] = false }

	/* It is promoted: its copies are written to, in a history of their own. */
	:: atomic { !promoted && !left_to_look && !session[0] && !session[1] ->
		promoted = true;
		/* No doubt is named: all that was acknowledged is here, and shown. */
		if
		:: !apart[0] && !apart[1] -> assert(ALL(shown, acknowledged))
		:: else
		fi;
		generations++;
		of_hub[0] = generations;
		of_hub[1] = generations }
	od
}

init {
	atomic {
		generation[0] = 1;
		generation[1] = 1;
		of_hub[0] = 1;
		of_hub[1] = 1;
		leased[0] = true;
		leased[1] = true;
		confirmed[0] = true;
		confirmed[1] = true;
		session[0] = true;
		session[1] = true;
		run Volume(0);
		run Volume(1);
		run Hub()
	}
}
