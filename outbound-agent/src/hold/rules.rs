//! The rules that queue the first packets of held connects, in a table that ends with the agent.
//!
//! The table belongs to the agent's socket (`NFT_TABLE_F_OWNER`, Linux 5.12): when the agent is
//! gone, so are the rules, and a connect is refused by the port on which nobody listens.
//! In the input hook the packet has passed the belt, and the kernel's limit on the rate of ICMP
//! errors does not hold for what came in by loopback.

use std::collections::BTreeSet;
use std::io;

use outbound_common::tenant::agent_net_v4;

use super::Refusal;
use super::netlink::{
    APPEND, Attributes, BATCH_BEGIN, BATCH_END, CREATE, EXCLUSIVE, Kind, Messages, Netlink,
};

/// The rules in one network namespace.
#[derive(Debug)]
pub(super) struct Rules {
    netlink: Netlink,
    table: String,
    slots: BTreeSet<u32>,
}

impl Rules {
    /// Queues nothing of anybody's IPv4 until [`Self::select`].
    pub(super) fn install(port: u16) -> io::Result<Self> {
        let rules = Self {
            netlink: Netlink::open()?,
            table: format!("outbound-{port}"),
            slots: BTreeSet::new(),
        };
        match rules.netlink.ask(&rules.table_for(port, queue)) {
            // This kernel has no expression `queue`: as iptables would do it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                rules.netlink.ask(&rules.table_for(port, queue_by_target))?;
            }
            other => other?,
        }
        Ok(rules)
    }

    /// Holds the connects of these tenants over IPv4 and of no others.
    pub(super) fn select(&mut self, slots: &BTreeSet<u32>) -> io::Result<()> {
        let gone: Vec<u32> = self.slots.difference(slots).copied().collect();
        let new: Vec<u32> = slots.difference(&self.slots).copied().collect();
        for (kind, flags, changed) in [(DELETE_ELEMENTS, 0, gone), (NEW_ELEMENTS, CREATE, new)] {
            for some in changed.chunks(ELEMENTS_AT_ONCE) {
                self.netlink.ask(&batch(|messages| {
                    messages.add(kind, flags, INET, 0, |message| self.elements(message, some));
                }))?;
                for slot in some {
                    if kind == NEW_ELEMENTS {
                        self.slots.insert(*slot);
                    } else {
                        self.slots.remove(slot);
                    }
                }
            }
        }
        Ok(())
    }

    fn elements(&self, message: &mut Attributes, slots: &[u32]) {
        message.text(1, &self.table);
        message.text(2, SET);
        message.nest(3, |list| {
            for slot in slots {
                let network = agent_net_v4(*slot).to_be_bytes();
                // One element, its key, the key's value.
                list.nest(1, |element| element.nest(1, |key| key.bytes(1, &network)));
            }
        });
    }

    /// The whole table: a set of tenants' networks, one rule in the input hook, and where that
    /// leads what a held packet meets, on its first way and on its second.
    fn table_for(&self, port: u16, queue: fn(&mut Rule<'_>, u16)) -> Messages {
        batch(|messages| {
            messages.add(NEW_TABLE, CREATE | EXCLUSIVE, INET, 0, |message| {
                message.text(1, &self.table);
                message.number(2, OWNER);
            });
            messages.add(NEW_SET, CREATE, INET, 0, |message| {
                message.text(1, &self.table);
                message.text(2, SET);
                message.number(3, 0); // no flags
                message.number(4, IPV4_ADDRESS);
                message.number(5, 4); // octets of a key
                message.number(10, 1); // its number in this batch
            });
            self.chain(messages, HELD, false);
            self.chain(messages, INPUT, true);
            self.rule(messages, INPUT, |rule| {
                rule.is_first_packet_to(port);
                rule.jump(HELD);
            });
            for refusal in Refusal::ALL {
                self.rule(messages, HELD, |rule| {
                    rule.has_mark(refusal.mark());
                    rule.reject(refusal);
                });
            }
            self.rule(messages, HELD, |rule| {
                rule.is_of(NFPROTO_IPV4);
                rule.is_in_set();
                queue(rule, port);
            });
            // IPv6 has one loopback address for all: the agent tells tenants apart by itself.
            self.rule(messages, HELD, |rule| {
                rule.is_of(NFPROTO_IPV6);
                queue(rule, port);
            });
        })
    }

    fn chain(&self, messages: &mut Messages, name: &str, is_hooked: bool) {
        messages.add(NEW_CHAIN, CREATE, INET, 0, |message| {
            message.text(1, &self.table);
            message.text(3, name);
            if is_hooked {
                message.nest(4, |hook| {
                    hook.number(1, HOOK_INPUT);
                    hook.number(2, PRIORITY);
                });
                message.text(7, "filter");
            }
        });
    }

    fn rule(&self, messages: &mut Messages, chain: &str, expressions: impl FnOnce(&mut Rule<'_>)) {
        messages.add(NEW_RULE, CREATE | APPEND, INET, 0, |message| {
            message.text(1, &self.table);
            message.text(2, chain);
            message.nest(4, |list| expressions(&mut Rule(list)));
        });
    }
}

fn batch(add: impl FnOnce(&mut Messages)) -> Messages {
    let mut messages = Messages::default();
    messages.add(BATCH_BEGIN, 0, 0, NF_TABLES, |_none| {});
    add(&mut messages);
    messages.add(BATCH_END, 0, 0, NF_TABLES, |_none| {});
    messages
}

/// The expressions of one rule. All of them work on register 1.
struct Rule<'a>(&'a mut Attributes);

impl Rule<'_> {
    /// A SYN that came in by `lo` for a TCP port.
    fn is_first_packet_to(&mut self, port: u16) {
        self.meta(META_IIF);
        self.equals(&1_u32.to_ne_bytes());
        self.meta(META_L4PROTO);
        self.equals(&[6]);
        self.payload(TRANSPORT, 2, 2);
        self.equals(&port.to_be_bytes());
        self.payload(TRANSPORT, 13, 1);
        self.masked(&[FIN | SYN | RST | ACK]);
        self.equals(&[SYN]);
    }

    fn has_mark(&mut self, mark: u32) {
        self.meta(META_MARK);
        self.equals(&mark.to_ne_bytes());
    }

    fn is_of(&mut self, family: u8) {
        self.meta(META_NFPROTO);
        self.equals(&[family]);
    }

    fn is_in_set(&mut self) {
        self.payload(NETWORK, 16, 4);
        self.masked(&[255, 255, 255, 0]);
        self.expression("lookup", |data| {
            data.text(1, SET);
            data.number(2, REGISTER);
            data.number(4, 1);
        });
    }

    fn jump(&mut self, chain: &str) {
        self.expression("immediate", |data| {
            data.number(1, 0); // the verdict's register
            data.nest(2, |value| {
                value.nest(2, |verdict| {
                    verdict.number(1, JUMP);
                    verdict.text(2, chain);
                });
            });
        });
    }

    fn reject(&mut self, refusal: Refusal) {
        let (kind, code) = match refusal {
            Refusal::Reset => (REJECT_RESET, 0),
            Refusal::HostUnreachable => (REJECT_ICMPX, ICMPX_HOST_UNREACHABLE),
            Refusal::NetUnreachable => (REJECT_ICMPX, ICMPX_NO_ROUTE),
        };
        self.expression("reject", |data| {
            data.number(1, kind);
            data.bytes(2, &[code]);
        });
    }

    fn meta(&mut self, key: u32) {
        self.expression("meta", |data| {
            data.number(1, REGISTER);
            data.number(2, key);
        });
    }

    fn payload(&mut self, base: u32, offset: u32, length: u32) {
        self.expression("payload", |data| {
            data.number(1, REGISTER);
            data.number(2, base);
            data.number(3, offset);
            data.number(4, length);
        });
    }

    fn masked(&mut self, mask: &[u8]) {
        self.expression("bitwise", |data| {
            data.number(1, REGISTER);
            data.number(2, REGISTER);
            data.number(3, mask.len() as u32);
            data.nest(4, |value| value.bytes(1, mask));
            data.nest(5, |value| value.bytes(1, &[0; 4][..mask.len()]));
        });
    }

    fn equals(&mut self, value: &[u8]) {
        self.expression("cmp", |data| {
            data.number(1, REGISTER);
            data.number(2, 0);
            data.nest(3, |inside| inside.bytes(1, value));
        });
    }

    fn expression(&mut self, name: &str, data: impl FnOnce(&mut Attributes)) {
        self.0.nest(1, |element| {
            element.text(1, name);
            element.nest(2, data);
        });
    }
}

/// Without `bypass`: where nobody reads the queue, the packet is dropped.
fn queue(rule: &mut Rule<'_>, number: u16) {
    rule.expression("queue", |data| data.bytes(1, &number.to_be_bytes()));
}

/// The same by the target of iptables, which some kernels have instead.
fn queue_by_target(rule: &mut Rule<'_>, number: u16) {
    rule.expression("target", |data| {
        data.text(1, "NFQUEUE");
        data.number(2, 0); // revision
        let [low, high] = number.to_ne_bytes();
        data.bytes(3, &[low, high, 0, 0, 0, 0, 0, 0]);
    });
}

impl Refusal {
    /// What sends a packet that is judged to its rule. High, because a workload that may set
    /// marks uses low ones; one that sets these refuses nobody but itself.
    pub(super) const fn mark(self) -> u32 {
        0x6f75_7400 + self as u32
    }
}

// linux/netfilter/nf_tables.h
const NF_TABLES: u16 = 10;
const NEW_TABLE: Kind = NF_TABLES << 8;
const NEW_CHAIN: Kind = NF_TABLES << 8 | 3;
const NEW_RULE: Kind = NF_TABLES << 8 | 6;
const NEW_SET: Kind = NF_TABLES << 8 | 9;
const NEW_ELEMENTS: Kind = NF_TABLES << 8 | 12;
const DELETE_ELEMENTS: Kind = NF_TABLES << 8 | 14;
const OWNER: u32 = 2;
const REGISTER: u32 = 1;
const JUMP: u32 = (-3_i32).cast_unsigned();
const META_MARK: u32 = 3;
const META_IIF: u32 = 4;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;
const REJECT_RESET: u32 = 1;
const REJECT_ICMPX: u32 = 2;
const ICMPX_NO_ROUTE: u8 = 0;
const ICMPX_HOST_UNREACHABLE: u8 = 2;
/// What `nft` calls the type `ipv4_addr`; only shown.
const IPV4_ADDRESS: u32 = 7;
// linux/netfilter.h
const INET: u8 = 1;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
const HOOK_INPUT: u32 = 1;
/// Where filters stand: behind what translates addresses.
const PRIORITY: u32 = 0;
// Bits of a TCP header.
const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const ACK: u8 = 16;

const SET: &str = "tenants";
const INPUT: &str = "input";
const HELD: &str = "held";
const ELEMENTS_AT_ONCE: usize = 1000;
