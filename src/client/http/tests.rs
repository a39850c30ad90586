use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

/// A server that reads one request, answers these bytes and hangs up. Ends with the request it saw.
async fn answering(response: &'static str) -> (Host, JoinHandle<String>) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = Host::parse(&format!("http://{}/paas", listener.local_addr().unwrap())).unwrap();
    let seen = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let length = stream.read(&mut request).await.unwrap();
        request.truncate(length);
        stream.write_all(response.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        String::from_utf8(request).unwrap()
    });
    (host, seen)
}

async fn get(response: &'static str) -> Result<Answer, Error> {
    let (host, _seen) = answering(response).await;
    let api = Api::new(host, None).unwrap();
    Ok(api.get(&["api", "apps"]).await?)
}

/// The error for a response, as the person reads it; the server's address is another each time.
async fn refusal(response: &'static str) -> (u8, String) {
    let error = get(response).await.unwrap_err();
    let lines: Vec<_> = std::iter::once(&error.message).chain(&error.hints).cloned().collect();
    let text = lines.join("\n");
    let words = text.split_inclusive(|c: char| " `\n".contains(c));
    let text = words.map(|word| match word.find("127.0.0.1:") {
        Some(_) => word.replace(|c: char| c.is_ascii_digit(), "0").replace("00000", "0").replace("0000", "0"),
        None => word.to_owned(),
    });
    (error.kind.exit_code(), text.collect())
}

#[tokio::test]
async fn the_data_is_taken_out_of_its_envelope() {
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 21\r\n\r\n{\"data\": {\"a\": [1]}}\n";
    assert_eq!(get(ok).await.unwrap().data, serde_json::json!({ "a": [1] }));
    let empty = "HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(get(empty).await.unwrap().data, Value::Null);
}

#[tokio::test]
async fn requests_carry_the_key_and_the_path_prefix() {
    let (host, seen) = answering("HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\n{\"data\": {}}").await;
    let credentials = Credentials { email: "me@x.org".into(), key: "KEY".into() };
    let api = Api::new(host, Some(credentials)).unwrap();
    let query = [("current_password", "a&b c")];
    api.send_empty(Method::POST, &["api", "api_keys", "regenerate"], &query).await.unwrap();
    let request = seen.await.unwrap();
    assert!(
        request.starts_with("POST /paas/api/api_keys/regenerate?current_password=a%26b+c HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains("authorization: Basic bWVAeC5vcmc6S0VZ\r\n"), "{request}");
    assert!(request.contains(concat!("user-agent: gigalixir/", env!("CARGO_PKG_VERSION"))), "{request}");
}

#[tokio::test]
async fn refusals_read_as_sentences() {
    let invalid = "HTTP/1.1 422 Unprocessable Entity\r\n\r\n\
        {\"errors\": {\"unique_name\": [\"is taken\", \"is too short\"], \"\": [\"no\\u001b[31m\"]}}";
    insta::assert_debug_snapshot!(refusal(invalid).await, @r#"
    (
        1,
        "no\\u{1b}[31m\nname is taken\nname is too short",
    )
    "#);
    let unauthorized = "HTTP/1.1 401 Unauthorized\r\n\r\n{\"errors\": {\"\": [\"wrong e-mail or key\"]}}";
    let (code, text) = refusal(unauthorized).await;
    assert_eq!(code, 3);
    assert!(
        text.starts_with("you are not signed in to http://000.0.0.0:0/paas\nrun `gigalixir login --host "),
        "{text}"
    );
    let stopping = "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"errors\": {\"\": [\"the server is stopping\"]}}";
    assert_eq!(refusal(stopping).await, (1, "the server is stopping".to_owned()));
    let taken = "HTTP/1.1 422 Unprocessable Entity\r\n\r\n{\"errors\": {\"fqdn\": [\"has already been taken\"]}}";
    assert_eq!(refusal(taken).await, (1, "domain has already been taken".to_owned()));
    let missing = "HTTP/1.1 404 Not Found\r\n\r\n{\"errors\": {\"\": [\"there is no app `a`\"]}}";
    let (code, text) = refusal(missing).await;
    assert_eq!((code, text.lines().next()), (4, Some("there is no app `a`")));
    let silent = "HTTP/1.1 422 Unprocessable Entity\r\n\r\n{\"errors\": {\"\": []}}";
    assert_eq!(refusal(silent).await, (1, "the server refused without saying why".to_owned()));
}

#[tokio::test]
async fn other_web_servers_are_recognised() {
    let html = "HTTP/1.1 500 Internal Server Error\r\n\r\n<html>\n<body>\n  <h1>Oh \u{1b}[2J no</h1>\n</body></html>";
    let (code, text) = refusal(html).await;
    assert_eq!(code, 1);
    assert!(text.contains("500 Internal Server Error: <html> <body> <h1>Oh \\u{1b}[2J no</h1>"), "{text}");
    let page = "HTTP/1.1 200 OK\r\n\r\n<html>welcome</html>";
    let (code, text) = refusal(page).await;
    assert_eq!(code, 1);
    assert!(text.contains("is not the gigalixir API: <html>welcome</html>"), "{text}");
    let bare = "HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n";
    assert!(refusal(bare).await.1.contains("answered 502 Bad Gateway"));
    let moved = "HTTP/1.1 301 Moved Permanently\r\nlocation: https://new.example/\r\n\r\n";
    let (_, text) = refusal(moved).await;
    assert!(text.contains("says it is elsewhere: https://new.example/\nredirects are not followed"), "{text}");
}

#[tokio::test]
async fn a_server_that_is_not_there_or_goes_away() {
    let (code, _) = refusal("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"data\": ").await;
    assert_eq!(code, 5);
    let (code, _) = refusal("").await;
    assert_eq!(code, 5);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = Host::parse(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let error = Error::from(Api::new(host, None).unwrap().get(&["api"]).await.unwrap_err());
    assert_eq!(error.kind, Kind::Unreachable);
    assert!(error.message.contains("Connection refused"), "{error}");
}

#[tokio::test]
async fn a_stream_that_is_cut_is_an_error_and_one_that_ends_is_not() {
    async fn read(response: &'static str) -> (Vec<u8>, Result<(), HttpError>) {
        let (host, _seen) = answering(response).await;
        let api = Api::new(host, None).unwrap();
        let mut stream = api.stream(&["api"], &[("follow", "True")]).await.unwrap();
        let mut all = Vec::new();
        loop {
            match stream.next().await {
                Ok(Some(bytes)) => all.extend_from_slice(bytes.as_ref()),
                Ok(None) => return (all, Ok(())),
                Err(error) => return (all, Err(error)),
            }
        }
    }
    let whole = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\na\n\r\n0\r\n\r\n";
    let (bytes, end) = read(whole).await;
    assert_eq!(bytes, b"a\n");
    end.unwrap();
    let cut = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\na\n\r\n";
    let (bytes, end) = read(cut).await;
    assert_eq!(bytes, b"a\n");
    assert!(matches!(end, Err(HttpError::BrokenOff { .. })));
}
