//! The way to the agent.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use outbound_javascript::{Body, Chunks, HostError};
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_local;

use super::super::message::{Content, Octets, Piece, ToAgent, ToWorker};

/// The way to the agent.
pub(super) struct Wire {
    outbox: Box<dyn Fn(ToAgent)>,
    waiting: RefCell<HashMap<u64, oneshot::Sender<ToWorker>>>,
    pub(super) streams: RefCell<HashMap<u64, mpsc::Sender<()>>>,
    last: Cell<u64>,
}

impl Wire {
    pub(super) fn new(outbox: impl Fn(ToAgent) + 'static) -> Self {
        Self {
            outbox: Box::new(outbox),
            waiting: RefCell::default(),
            streams: RefCell::default(),
            last: Cell::new(0),
        }
    }

    pub(super) fn say(&self, message: ToAgent) {
        (self.outbox)(message);
    }

    pub(super) fn number(&self) -> u64 {
        self.last.set(self.last.get() + 1);
        self.last.get()
    }

    pub(super) fn settle(&self, errand: u64, message: ToWorker) {
        if let Some(waiting) = self.waiting.borrow_mut().remove(&errand) {
            // Whoever waited may be gone.
            let _sent = waiting.send(message);
        }
    }

    /// Waits for the answer to an errand; a wait that is given up is told.
    pub(super) fn wait(self: &Rc<Self>, errand: u64) -> Wait {
        let (sender, answer) = oneshot::channel();
        self.waiting.borrow_mut().insert(errand, sender);
        Wait {
            wire: Rc::clone(self),
            errand,
            answer,
        }
    }

    pub(super) fn content(self: &Rc<Self>, body: Body) -> Content {
        match body {
            Body::Empty => Content::Empty,
            Body::Bytes(octets) => Content::Whole(Octets(octets)),
            Body::Handle(number) => Content::Handle(number),
            Body::Stream(chunks) => {
                let stream = self.number();
                // One piece for each that is asked for.
                let (pulls, pulled) = mpsc::channel(1);
                self.streams.borrow_mut().insert(stream, pulls);
                spawn_local(feed(Rc::clone(self), stream, chunks, pulled));
                Content::Stream(stream)
            }
        }
    }
}

async fn feed(wire: Rc<Wire>, stream: u64, mut chunks: Chunks, mut pulled: mpsc::Receiver<()>) {
    while pulled.recv().await.is_some() {
        let piece = match chunks.next().await {
            Some(Ok(octets)) => Piece::Data(Octets(octets)),
            None => Piece::End,
            Some(Err(error)) => Piece::Failed(error.to_string()),
        };
        let is_last = !matches!(piece, Piece::Data(_));
        wire.say(ToAgent::Piece { stream, piece });
        if is_last {
            wire.streams.borrow_mut().remove(&stream);
            return;
        }
    }
}

/// An errand that is waited for.
pub(super) struct Wait {
    wire: Rc<Wire>,
    errand: u64,
    answer: oneshot::Receiver<ToWorker>,
}

impl Wait {
    pub(super) async fn answer(mut self) -> Result<ToWorker, HostError> {
        let answer = (&mut self.answer).await;
        answer.map_err(|_gone| HostError::new("the agent is gone"))
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if self
            .wire
            .waiting
            .borrow_mut()
            .remove(&self.errand)
            .is_some()
        {
            self.wire.say(ToAgent::Forget {
                errand: self.errand,
            });
        }
    }
}
