use http::Version;

use super::Stage;

/// Every event is read before the next is published: one that waited in a buffer would stop all.
const EVENTS: &str = "
import httpx
with httpx.Client(http2=HTTP2, timeout=40) as client:
    def publish(word):
        client.get('https://api.test/publish/' + word)
    publish('one')
    with client.stream('GET', 'https://api.test/events') as reply:
        print(reply.headers['content-type'])
        lines = (line for line in reply.iter_lines() if line)
        print(next(lines))
        for word in ('two', 'three'):
            publish(word)
            print(next(lines))
";

#[test]
fn each_server_sent_event_arrives_before_the_next_is_sent() {
    let Some(stage) = Stage::new() else { return };
    for http2 in ["False", "True"] {
        // The words of the first time are there already, and come first.
        let told = stage.python(&EVENTS.replace("HTTP2", http2)).output();
        let expected = "text/event-stream\ndata: one\ndata: two\ndata: three\n";
        assert_eq!(told, expected);
    }
    let visit = stage.site.visit("/events");
    assert_eq!(visit.version, Version::HTTP_2);
}

#[test]
fn a_long_poll_is_answered_when_there_is_something_to_say() {
    let Some(stage) = Stage::new() else { return };
    let program = "
import requests, sys, threading
answers = []
def poll():
    for number in range(3):
        answers.append(requests.get(f'https://api.test/poll/{number}', timeout=40).text)
        print('answered', number)
thread = threading.Thread(target=poll)
thread.start()
for word in sys.stdin:
    requests.get('https://api.test/publish/' + word.strip(), timeout=40)
thread.join()
print(answers)
";
    let poller = stage.python(program).start();
    for (number, word) in ["one", "two", "three"].into_iter().enumerate() {
        stage.site.visit(&format!("/poll/{number}"));
        assert!(!poller.output().contains(&format!("answered {number}")));
        poller.say(word);
        poller.expect(&format!("answered {number}\n"));
    }
    assert!(poller.end().stdout.ends_with("['one', 'two', 'three']\n"));
    stage.expect_carried("/poll/2", "python");
}
