//! The open connections, and which one is evicted at the limit.
//!
//! Invariants
//! - A new connection is accepted at once, unless every connection is trusted and busy. Then it waits.
//! - A connection is *trusted* once a request on it was answered with 200. Only a client that knows a
//!   path of the registration gets that answer, so a flood evicts only its own connections, never
//!   those of an API server.
//! - No peer address has more than [`ConnectionLimits::untrusted_per_peer`] untrusted connections.
//!
//! Start at [`Roster::join`].

use std::{
    collections::{HashMap, VecDeque},
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::{ConnectionLimits, Stats, activity::Activity, count};

/// Entries of closed connections that a queue may hold beyond those of open ones.
const SLACK: usize = 16;

/// The connections of one listener.
#[derive(Debug)]
pub(super) struct Roster {
    state: Mutex<OpenConnections>,
    left: Notify,
    limits: ConnectionLimits,
    stats: Arc<Stats>,
}

#[derive(Debug, Default)]
struct OpenConnections {
    open: usize,
    untrusted: HashMap<IpAddr, Queue>,
    /// Oldest trust first.
    trusted: VecDeque<Weak<Connection>>,
}

/// The untrusted connections of one peer address, oldest first. Closed ones are removed later.
#[derive(Debug, Default)]
struct Queue {
    open: usize,
    members: VecDeque<Weak<Connection>>,
}

/// The state of an open connection.
#[derive(Debug)]
struct Connection {
    address: IpAddr,
    /// The network that limits per peer count: see [`network`].
    peer: IpAddr,
    is_trusted: AtomicBool,
    is_evicted: AtomicBool,
    evict: CancellationToken,
    activity: OnceLock<Activity>,
}

/// A place on the roster, released when dropped.
#[derive(Clone, Debug)]
pub(super) struct Member(Arc<Place>);

#[derive(Debug)]
struct Place {
    roster: Arc<Roster>,
    connection: Arc<Connection>,
}

impl Roster {
    pub(super) fn new(limits: ConnectionLimits, stats: Arc<Stats>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::default(),
            left: Notify::new(),
            limits,
            stats,
        })
    }

    /// Gives a new connection a place, if necessary by evicting another one.
    pub(super) async fn join(self: &Arc<Self>, peer: IpAddr) -> Member {
        loop {
            let left = self.left.notified();
            if let Some(member) = self.try_join(peer) {
                return member;
            }
            left.await;
        }
    }

    fn try_join(self: &Arc<Self>, address: IpAddr) -> Option<Member> {
        let peer = network(address);
        let mut state = self.state.lock();
        let of_peer = state.untrusted.get(&peer).map_or(0, |queue| queue.open);
        let evicted = if of_peer >= self.limits.untrusted_per_peer {
            state.evict_untrusted(peer)
        } else if state.open >= self.limits.connections {
            match state.peer_with_most() {
                Some(peer) => state.evict_untrusted(peer),
                None => state.evict_idle(),
            }
        } else {
            false
        };
        if evicted {
            count(&self.stats.evicted);
        }
        if state.open >= self.limits.connections {
            return None;
        }
        let connection = Arc::new(Connection {
            address,
            peer,
            is_trusted: AtomicBool::new(false),
            is_evicted: AtomicBool::new(false),
            evict: CancellationToken::new(),
            activity: OnceLock::new(),
        });
        state.open += 1;
        let queue = state.untrusted.entry(peer).or_default();
        queue.open += 1;
        queue.members.push_back(Arc::downgrade(&connection));
        drop(state);
        Some(Member(Arc::new(Place {
            roster: Arc::clone(self),
            connection,
        })))
    }
}

impl OpenConnections {
    fn peer_with_most(&self) -> Option<IpAddr> {
        let by_open = self.untrusted.iter().max_by_key(|(_, queue)| queue.open);
        by_open.map(|(peer, _)| *peer)
    }

    /// Ends the oldest untrusted connection of a peer.
    fn evict_untrusted(&mut self, peer: IpAddr) -> bool {
        let Some(queue) = self.untrusted.get_mut(&peer) else {
            return false;
        };
        while let Some(oldest) = queue.members.pop_front() {
            if let Some(connection) = oldest.upgrade()
                && !connection.is_trusted.load(Relaxed)
                && connection.end()
            {
                self.open -= 1;
                self.leave_queue(peer);
                return true;
            }
        }
        false
    }

    /// Ends a trusted connection without a request, the one that has been trusted longest.
    fn evict_idle(&mut self) -> bool {
        self.trusted.retain(|member| member.strong_count() > 0);
        let open = self.trusted.iter().filter_map(Weak::upgrade);
        let ended = open.into_iter().any(|connection| {
            connection.activity.get().is_some_and(Activity::is_idle) && connection.end()
        });
        self.open -= usize::from(ended);
        ended
    }

    /// Counts down the untrusted connections.
    fn leave_queue(&mut self, peer: IpAddr) {
        let Some(queue) = self.untrusted.get_mut(&peer) else {
            return;
        };
        queue.open = queue.open.saturating_sub(1);
        if queue.open == 0 {
            self.untrusted.remove(&peer);
        } else if queue.members.len() > 2 * queue.open + SLACK {
            queue.members.retain(|member| {
                member
                    .upgrade()
                    .is_some_and(|connection| !connection.is_trusted.load(Relaxed))
            });
        }
    }
}

impl Connection {
    /// Asks it to end; false if it was asked before.
    fn end(&self) -> bool {
        self.evict.cancel();
        !self.is_evicted.swap(true, Relaxed)
    }
}

impl Member {
    /// Resolves when the connection is evicted.
    pub(super) fn evicted(&self) -> WaitForCancellationFuture<'_> {
        self.0.connection.evict.cancelled()
    }

    pub(super) fn address(&self) -> IpAddr {
        self.0.connection.address
    }

    /// Sets the activity of the connection.
    pub(super) fn observe(&self, activity: &Activity) {
        // Set once: a connection speaks one protocol.
        let _ = self.0.connection.activity.set(activity.clone());
    }

    /// Marks the connection as trusted.
    pub(super) fn trust(&self) {
        let Place { roster, connection } = &*self.0;
        if connection.is_trusted.load(Relaxed) {
            return;
        }
        let mut state = roster.state.lock();
        if connection.is_evicted.load(Relaxed) || connection.is_trusted.swap(true, Relaxed) {
            return;
        }
        state.leave_queue(connection.peer);
        if state.trusted.len() > 2 * state.open + SLACK {
            state.trusted.retain(|member| member.strong_count() > 0);
        }
        state.trusted.push_back(Arc::downgrade(connection));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.roster.state.lock();
        if !self.connection.is_evicted.load(Relaxed) {
            state.open -= 1;
            if !self.connection.is_trusted.load(Relaxed) {
                state.leave_queue(self.connection.peer);
            }
        }
        drop(state);
        self.roster.left.notify_waiters();
    }
}

/// The address that a limit per peer counts: one IPv6 host may have all of a /64.
fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(prefix))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use rstest::rstest;

    use super::{super::activity::Framing, *};

    fn roster(connections: usize, untrusted_per_peer: usize) -> Arc<Roster> {
        let limits = ConnectionLimits {
            connections,
            untrusted_per_peer,
            ..ConnectionLimits::default()
        };
        Roster::new(limits, Arc::default())
    }

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn join(roster: &Arc<Roster>, last: u8) -> Member {
        roster.join(address(last)).now_or_never().expect("a place")
    }

    /// A trusted client, with or without a running request.
    fn trusted(roster: &Arc<Roster>, last: u8) -> (Member, Activity) {
        let member = join(roster, last);
        let activity = Activity::new(Framing::Http1, ConnectionLimits::default());
        member.observe(&activity);
        drop(activity.request());
        member.trust();
        (member, activity)
    }

    fn is_evicted(member: &Member) -> bool {
        member.0.connection.evict.is_cancelled()
    }

    #[test]
    fn the_peer_with_the_most_untrusted_connections_loses_its_oldest() {
        let roster = roster(4, 64);
        let flood: Vec<_> = (0..3).map(|_| join(&roster, 1)).collect();
        let other = join(&roster, 2);
        let _newcomer = join(&roster, 3);
        let evicted: Vec<_> = flood.iter().map(is_evicted).collect();
        assert_eq!(evicted, [true, false, false]);
        assert!(!is_evicted(&other));
        assert_eq!(roster.stats.evicted(), 1);
    }

    #[test]
    fn a_flood_evicts_itself_and_no_trusted_connection() {
        let roster = roster(8, 4);
        let (api_server, _) = trusted(&roster, 1);
        let flood: Vec<_> = (2..=8_u8)
            .cycle()
            .take(5000)
            .map(|last| join(&roster, last))
            .collect();
        assert!(!is_evicted(&api_server));
        let open = flood.iter().filter(|member| !is_evicted(member)).count();
        assert_eq!(open, 7);
        let (second, _) = trusted(&roster, 1);
        assert!(!is_evicted(&second));
    }

    #[test]
    fn one_peer_has_no_more_untrusted_connections_than_its_share() {
        let roster = roster(100, 2);
        let members: Vec<_> = (0..4).map(|_| join(&roster, 1)).collect();
        let evicted: Vec<_> = members.iter().map(is_evicted).collect();
        assert_eq!(evicted, [true, true, false, false]);
    }

    #[test]
    fn trusted_connections_do_not_count_against_a_share() {
        let roster = roster(100, 2);
        let members: Vec<_> = (0..10).map(|_| trusted(&roster, 1)).collect();
        assert!(members.iter().all(|(member, _)| !is_evicted(member)));
    }

    #[test]
    fn if_all_are_trusted_the_oldest_idle_connection_is_evicted() {
        let roster = roster(3, 64);
        let (busy, activity) = trusted(&roster, 1);
        let request = activity.request();
        let (oldest, _) = trusted(&roster, 1);
        let (other, _) = trusted(&roster, 1);
        let _newcomer = join(&roster, 2);
        assert_eq!(
            [&busy, &oldest, &other].map(is_evicted),
            [false, true, false]
        );
        drop(request);
    }

    #[tokio::test]
    async fn if_all_are_trusted_and_busy_a_new_connection_waits() {
        let roster = roster(1, 64);
        let (busy, activity) = trusted(&roster, 1);
        let request = activity.request();
        let newcomer = roster.join(address(2));
        tokio::pin!(newcomer);
        assert!(newcomer.as_mut().now_or_never().is_none());
        assert!(!is_evicted(&busy));
        drop(request);
        drop(busy);
        newcomer.await;
    }

    #[test]
    fn closed_connections_do_not_grow_the_roster() {
        let roster = roster(100, 64);
        let _first = join(&roster, 1);
        let (_trusted, _activity) = trusted(&roster, 2);
        for _ in 0..10_000 {
            drop(join(&roster, 1));
            drop(trusted(&roster, 2));
            drop(join(&roster, 3));
        }
        let state = roster.state.lock();
        assert_eq!(state.open, 2);
        assert_eq!(state.untrusted.len(), 1);
        let kept: usize = state
            .untrusted
            .values()
            .map(|queue| queue.members.len())
            .sum();
        assert!(kept <= 2 + SLACK + 1, "{kept}");
        assert!(
            state.trusted.len() <= 6 + SLACK + 1,
            "{}",
            state.trusted.len()
        );
    }

    #[rstest]
    #[case::v4("10.0.0.1", "10.0.0.1")]
    #[case::v4_as_v6("::ffff:10.0.0.1", "10.0.0.1")]
    #[case::v6("fd00:1:2:3:4:5:6:7", "fd00:1:2:3::")]
    fn a_peer_is_an_ipv4_address_or_an_ipv6_network(#[case] peer: &str, #[case] counted: &str) {
        assert_eq!(
            network(peer.parse().unwrap()),
            counted.parse::<IpAddr>().unwrap()
        );
    }
}
