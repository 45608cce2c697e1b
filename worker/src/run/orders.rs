//! What the owner of a session asks of its loop.

use tokio::sync::watch;

/// One wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Go on.
    Run,
    /// Go on, but say `draining`: a stop follows when the publisher has left.
    Drain,
    /// Hand over at once to the next process on this machine: it goes on from the spool.
    Leave,
    /// Drain without an end: the next process goes on, maybe without the spool.
    Suspend,
    /// Drain and append `end` with this reason.
    Stop(String),
}

impl Order {
    fn strength(&self) -> u8 {
        match self {
            Self::Run => 0,
            Self::Drain => 1,
            Self::Leave => 2,
            Self::Suspend => 3,
            Self::Stop(_) => 4,
        }
    }
}

/// Gives orders from several places: a weaker one never takes a stronger one back, however late the loop looks. So a
/// SIGTERM that follows a stop suspends nothing, and the first stop's reason stays.
#[derive(Debug, Clone)]
pub struct Orders(watch::Sender<Order>);

impl Orders {
    /// With the end that the session's loop takes.
    pub fn new() -> (Self, watch::Receiver<Order>) {
        let (orders, ordered) = watch::channel(Order::Run);
        (Self(orders), ordered)
    }

    /// False when as much has been ordered before.
    pub fn give(&self, order: Order) -> bool {
        self.0.send_if_modified(|given| {
            let is_stronger = order.strength() > given.strength();
            if is_stronger {
                *given = order;
            }
            is_stronger
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_is_never_taken_back_and_keeps_its_first_reason() {
        let (orders, ordered) = Orders::new();
        assert!(orders.give(Order::Drain));
        assert!(orders.give(Order::Stop("RoomEnded".into())));
        for late in [Order::Run, Order::Drain, Order::Suspend, Order::Stop("Stopped".into())] {
            assert!(!orders.give(late));
            assert_eq!(*ordered.borrow(), Order::Stop("RoomEnded".into()));
        }
    }

    #[test]
    fn a_suspension_may_still_become_an_end() {
        let (orders, ordered) = Orders::new();
        assert!(orders.give(Order::Suspend));
        assert!(orders.give(Order::Stop("Stopped".into())));
        assert_eq!(*ordered.borrow(), Order::Stop("Stopped".into()));
    }
}
