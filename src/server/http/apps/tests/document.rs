//! The description beside the door it describes.

use super::*;

#[tokio::test]
async fn the_router_answers_to_what_is_described_and_to_nothing_else() {
    let platform = Platform::new().await;
    let (status, document) = platform.ask(ANN, "GET", "/api/openapi.json", json!(null)).await;
    assert_eq!((status, &document["openapi"]), (200, &json!("3.1.0")));
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    for (path, item) in document["paths"].as_object().unwrap() {
        let address = path.replace("{app}", "no-such-app").replace(['{', '}'], "");
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
            // A key that is none: whatever is there refuses before it does anything.
            let request = Request::builder().method(method).uri(&address).body(Body::from("\"\"")).unwrap();
            let (status, answer) = platform.read(request).await;
            let described = item.get(method.to_lowercase()).is_some();
            assert_eq!(status == 405, !described, "{method} {path}: {status} {answer}");
            if status >= 400 {
                assert!(answer["errors"].is_object() || path == "/api/validate_email", "{method} {path}: {answer}");
            }
            assert_ne!(answer["errors"][""][0], "there is nothing at this address", "{method} {path}");
        }
    }
    for address in ["/", "/api", "/api/app", "/api/apps/hill/nothing", "/api/apps/", "/api/openapi.json/"] {
        let (status, answer) = platform.ask(ANN, "GET", address, json!(null)).await;
        assert_eq!((status, answer.to_string().contains("nothing at this address")), (404, true), "{address}");
    }
}
