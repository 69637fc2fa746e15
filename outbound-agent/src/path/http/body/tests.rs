use std::sync::Mutex;
use std::task::Waker;

use super::*;
use crate::path::worker::Uncounted;

/// Two pieces that were announced, and an end that never comes.
struct Announced(u64);

impl http_body::Body for Announced {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.0 == 0 {
            return Poll::Pending;
        }
        self.0 -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0)
    }
}

/// How a body ends of which so many pieces were read.
async fn ending_after(pieces: usize) -> Option<Ending> {
    let ended = Arc::new(Mutex::new(None));
    let told = Arc::clone(&ended);
    let on_end = Box::new(move |ending| *told.lock().unwrap() = Some(ending));
    let made = Source::Made(Box::pin(Announced(2)));
    let mut body = Streamed::new(made, Arc::new(Uncounted), Duration::from_secs(60), on_end);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..pieces {
        assert!(body.poll_frame(&mut context).is_ready());
    }
    drop(body);
    *ended.lock().unwrap()
}

#[tokio::test]
async fn what_has_come_whole_is_complete_though_nobody_said_so() {
    assert_eq!(ending_after(2).await, Some(Ending::COMPLETED));
    let aborted = Ending::of(Reason::DownstreamAborted);
    assert_eq!(ending_after(1).await, Some(aborted));
}
