//! Closed lists that only logs and metrics print; the others are in [`crate::model::reason`].

use crate::model::reason::{Reason, closed_list};

closed_list! {
    /// What a connection turned out to speak.
    Protocol {
        /// HTTP/1.x in the clear, or inside TLS that the agent ended.
        Http = "http",
        /// TLS that is passed through.
        Tls = "tls",
        /// DNS over TCP.
        Dns = "dns",
        /// Any other bytes.
        Tcp = "tcp",
        /// It ended before that was known.
        Unknown = "unknown",
    }
}

closed_list! {
    /// Policy's answer.
    Verdict {
        /// Allowed, in audit mode also what enforce would have denied.
        Allow = "allow",
        /// Denied.
        Deny = "deny",
        /// It ended before policy was asked.
        None = "none",
    }
}

closed_list! {
    /// What became of a connect that was held until its upstream had answered.
    Held {
        /// The upstream has taken it.
        Connected = "connected",
        /// Policy denies whatever it may be for.
        Denied = "denied",
        /// The upstream refused it.
        Refused = "refused",
        /// The upstream's host cannot be reached.
        HostUnreachable = "host_unreachable",
        /// There is no route to the upstream.
        NetUnreachable = "net_unreachable",
        /// The upstream has not answered: neither does the agent.
        TimedOut = "timed_out",
        /// Only what it carries will say whether it is allowed: taken at once.
        Open = "open",
        /// The tenant has too many of them: taken at once.
        OverLimit = "over_limit",
    }
}

closed_list! {
    /// What an outbound worker did with a request.
    WorkerOutcome {
        /// It gave a response.
        Responded = "responded",
        /// It let a tunnel go on to where it wanted.
        Passed = "passed",
        /// It sent a tunnel elsewhere.
        Redirected = "redirected",
        /// It refused a tunnel.
        Rejected = "rejected",
        /// It failed, and the request went on without it.
        Forwarded = "forwarded",
        /// It threw, or gave no response.
        Exception = "exception",
        /// It used up its time on a processor.
        Cpu = "cpu",
        /// It did not answer in time.
        Timeout = "timeout",
        /// It used up its memory.
        Memory = "memory",
        /// Its process died, or was not back yet.
        Died = "died",
        /// It could not be reached, or does not load.
        Unavailable = "unavailable",
        /// It was not asked: too many invocations, or one in a circle.
        Refused = "refused",
    }
}

closed_list! {
    /// What became of a credential that is bound to a request's host.
    Use {
        /// It went out.
        Injected = "injected",
        /// It is not for such a request: another method or path, or plain HTTP.
        Skipped = "skipped",
        /// It could not be obtained, and nothing went out.
        Failed = "failed",
    }
}

closed_list! {
    /// Which way bytes went, as the workload sees it.
    Direction {
        /// From the workload.
        Sent = "sent",
        /// To the workload.
        Received = "received",
    }
}

closed_list! {
    /// How a reload of the configuration ended.
    Reload {
        /// The new configuration holds.
        Applied = "applied",
        /// It is wrong; the last good one holds.
        Rejected = "rejected",
    }
}

closed_list! {
    /// What a line of the access log is about.
    Kind {
        /// One exchange.
        Http = "http",
        /// One connection of TLS that was passed through.
        Tls = "tls",
        /// One connection of other bytes, or one that ended before it said what it speaks.
        Tcp = "tcp",
        /// One DNS query.
        Dns = "dns",
        /// Something that no well-behaved workload does.
        SecurityEvent = "security_event",
    }
}

impl WorkerOutcome {
    /// What it did that failed for this reason.
    pub const fn of(reason: Reason) -> Self {
        match reason {
            Reason::WorkerCpu => Self::Cpu,
            Reason::WorkerTimeout => Self::Timeout,
            Reason::WorkerMemory => Self::Memory,
            Reason::WorkerDied => Self::Died,
            Reason::WorkerUnavailable => Self::Unavailable,
            Reason::WorkerLimit | Reason::WorkerLoop | Reason::NotDispatched => Self::Refused,
            _ => Self::Exception,
        }
    }
}
