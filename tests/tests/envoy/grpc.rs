//! gRPC through the filter in a real Envoy with the rendered bootstrap: calls follow the weights, and streams,
//! metadata, trailers and errors stay unchanged.

use bytes::{Buf, BufMut};
use e2e::guide::{Guide, Sidecar};
use e2e::{Error, Result, is_share, wait_for};
use hyper::http::uri::PathAndQuery;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder, Streaming};
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::server::StreamingService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Response, Status};

const ROOT: &str = "http://greeter.httpbin:14001";
const METHOD: &str = "/greeter.Greeter/Greet";

/// Messages are plain text, so the tests need no generated code.
#[derive(Clone, Copy, Default)]
struct Text;

impl Codec for Text {
    type Encode = String;
    type Decode = String;
    type Encoder = Text;
    type Decoder = Text;

    fn encoder(&mut self) -> Text {
        Text
    }

    fn decoder(&mut self) -> Text {
        Text
    }
}

impl Encoder for Text {
    type Item = String;
    type Error = Status;

    fn encode(&mut self, text: String, into: &mut EncodeBuf<'_>) -> std::result::Result<(), Status> {
        into.put_slice(text.as_bytes());
        Ok(())
    }
}

impl Decoder for Text {
    type Item = String;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> std::result::Result<Option<String>, Status> {
        let bytes = from.copy_to_bytes(from.remaining()).to_vec();
        String::from_utf8(bytes).map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}

/// A gRPC server that speaks only HTTP/2. It answers each message with its name (`greeter-v1: hello`), returns the
/// metadata `x-mark` and `x-mark-bin`, and sends the number of messages as the trailer `x-messages`. The message
/// `fail` ends the call with an error; the metadata `x-refuse` rejects the call.
struct Greeter {
    address: SocketAddr,
    calls: Arc<AtomicU64>,
}

impl Greeter {
    fn start(runtime: &Runtime, name: &'static str) -> Result<Greeter> {
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0"))?;
        let (address, calls) = (listener.local_addr()?, Arc::new(AtomicU64::new(0)));
        let counter = calls.clone();
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let calls = counter.clone();
                let service = service_fn(move |request| {
                    calls.fetch_add(1, Ordering::SeqCst);
                    async move {
                        let answer = tonic::server::Grpc::new(Text).streaming(Greet(name), request).await;
                        Ok::<_, Infallible>(answer)
                    }
                });
                let connection =
                    http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        Ok(Greeter { address, calls })
    }
}

/// A call to the [`Greeter`] with this name.
struct Greet(&'static str);

impl StreamingService<String> for Greet {
    type Response = String;
    type ResponseStream = ReceiverStream<std::result::Result<String, Status>>;
    type Future = Ready<std::result::Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<String>>) -> Self::Future {
        let name = self.0;
        let mut metadata = MetadataMap::new();
        if let Some(mark) = request.metadata().get("x-mark") {
            metadata.insert("x-mark", mark.clone());
        }
        if let Some(mark) = request.metadata().get_bin("x-mark-bin") {
            metadata.insert_bin("x-mark-bin", mark.clone());
        }
        if request.metadata().contains_key("x-refuse") {
            return ready(Err(failure(name)));
        }
        let mut messages = request.into_inner();
        let (sender, answers) = channel(1);
        tokio::spawn(async move {
            let mut number = 0_u64;
            while let Ok(Some(message)) = messages.message().await {
                number += 1;
                let answer = if message == "fail" { Err(failure(name)) } else { Ok(format!("{name}: {message}")) };
                let is_over = answer.is_err();
                if sender.send(answer).await.is_err() || is_over {
                    return;
                }
            }
            let mut trailers = MetadataMap::new();
            trailers.insert("x-messages", number.into());
            // tonic takes the trailers of a successful call from this status.
            let _ = sender.send(Err(Status::with_metadata(Code::Ok, "", trailers))).await;
        });
        let mut response = Response::new(ReceiverStream::new(answers));
        *response.metadata_mut() = metadata;
        ready(Ok(response))
    }
}

/// Returns an error with a code, a message, details and metadata.
fn failure(name: &str) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("x-why", MetadataValue::from_static("no reason"));
    Status::with_details_and_metadata(
        Code::NotFound,
        format!("{name}: 100 % gone, für immer"),
        b"\x00\xff".to_vec().into(),
        metadata,
    )
}

fn assert_failure(error: &Status, name: &str) {
    let expected = failure(name);
    assert_eq!((error.code(), error.message()), (Code::NotFound, expected.message()));
    assert_eq!((error.details(), text(error.metadata(), "x-why").as_deref()), (expected.details(), Some("no reason")));
}

/// Returns the Services greeter, greeter-v1 and greeter-v2, and a split with these weights.
fn objects(v1: u32, v2: u32) -> String {
    let service = |name: &str| {
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "httpbin"},
            "spec": {"ports": [{"name": "grpc", "port": 14001}]},
        })
    };
    let split = json!({
        "apiVersion": "split.smi-spec.io/v1alpha4",
        "kind": "TrafficSplit",
        "metadata": {"name": "greeter", "namespace": "httpbin"},
        "spec": {
            "service": "greeter",
            "backends": [{"service": "greeter-v1", "weight": v1}, {"service": "greeter-v2", "weight": v2}],
        },
    });
    let items: Vec<Value> = ["greeter", "greeter-v1", "greeter-v2"].map(service).into_iter().chain([split]).collect();
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// A sidecar, a greeter of each version, and a greeter of the root.
struct Greeters {
    guide: Guide,
    sidecar: Sidecar,
    v1: Greeter,
    v2: Greeter,
    root: Greeter,
    // Dropped last: the greeters run on it.
    runtime: Runtime,
}

impl Greeters {
    fn start(objects: &str) -> Result<Greeters> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let [first, second, root] = ["greeter-v1", "greeter-v2", "greeter"].map(|name| Greeter::start(&runtime, name));
        let (first, second, root, guide) = (first?, second?, root?, Guide::built()?);
        let endpoints = [
            ("greeter-v1.httpbin", first.address),
            ("greeter-v2.httpbin", second.address),
            ("greeter.httpbin", root.address),
        ];
        let sidecar = Sidecar::start_with(&guide, objects, &endpoints)?;
        Ok(Greeters { guide, sidecar, v1: first, v2: second, root, runtime })
    }

    /// Returns clients, each with its own connection.
    fn clients(&self, number: usize) -> Result<Vec<Client>> {
        let address = format!("http://127.0.0.1:{}", self.sidecar.port);
        let connect = |_| {
            let endpoint = Endpoint::from_shared(address.clone()).map_err(into_error)?;
            let channel = self
                .runtime
                .block_on(endpoint.origin(ROOT.parse().map_err(into_error)?).connect())
                .map_err(into_error)?;
            Ok(Client(tonic::client::Grpc::new(channel)))
        };
        (0..number).map(connect).collect()
    }

    fn calls(&self) -> [u64; 3] {
        [&self.v1, &self.v2, &self.root].map(|greeter| greeter.calls.load(Ordering::SeqCst))
    }
}

struct Client(tonic::client::Grpc<Channel>);

/// An open call.
struct Call {
    sender: Sender<String>,
    responses: Streaming<String>,
}

impl Client {
    async fn unary(&mut self, request: Request<String>) -> std::result::Result<Response<String>, Status> {
        self.0.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        self.0.unary(request, PathAndQuery::from_static(METHOD), Text).await
    }

    async fn call(&mut self) -> std::result::Result<Call, Status> {
        self.0.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
        let (sender, receiver) = channel(1);
        let request = Request::new(ReceiverStream::new(receiver));
        let response = self.0.streaming(request, PathAndQuery::from_static(METHOD), Text).await?;
        Ok(Call { sender, responses: response.into_inner() })
    }
}

impl Call {
    /// Sends a message, waits for its answer, and returns the name of the greeter.
    async fn exchange(&mut self, message: &str) -> std::result::Result<String, Status> {
        self.sender.send(message.to_owned()).await.map_err(|error| Status::unknown(error.to_string()))?;
        let answer = self.responses.message().await?.unwrap_or_default();
        let name = answer.strip_suffix(message).and_then(|name| name.strip_suffix(": "));
        name.map(str::to_owned).ok_or_else(|| Status::unknown(format!("{message}: {answer:?}")))
    }

    /// Ends the request and returns the trailers.
    async fn end(self) -> std::result::Result<MetadataMap, Status> {
        let Call { sender, mut responses } = self;
        drop(sender);
        match responses.message().await? {
            None => Ok(responses.trailers().await?.unwrap_or_default()),
            Some(more) => Err(Status::unknown(format!("unexpected message: {more}"))),
        }
    }
}

fn text(metadata: &MetadataMap, key: &str) -> Option<String> {
    metadata.get(key)?.to_str().ok().map(str::to_owned)
}

fn into_error(error: impl std::fmt::Debug) -> Error {
    Error(format!("{error:?}"))
}

#[test]
fn unary_calls_follow_weights_and_keep_metadata_and_trailers() -> Result<()> {
    let greeters = Greeters::start(&objects(75, 25))?;
    let mut by_v1 = 0;
    for mut client in greeters.clients(8)? {
        for number in 0..100 {
            let mut request = Request::new("hello".to_owned());
            request.metadata_mut().insert("x-mark", number.into());
            request.metadata_mut().insert_bin("x-mark-bin", MetadataValue::from_bytes(b"\x00\xff\x80"));
            let response = greeters.runtime.block_on(client.unary(request)).map_err(into_error)?;
            let metadata = response.metadata();
            assert_eq!(text(metadata, "x-mark"), Some(number.to_string()));
            let bytes = metadata.get_bin("x-mark-bin").and_then(|mark| mark.to_bytes().ok());
            assert_eq!(bytes.as_deref(), Some(&b"\x00\xff\x80"[..]));
            // The metadata of a unary call includes its trailers.
            assert_eq!(text(metadata, "x-messages").as_deref(), Some("1"));
            match response.get_ref().as_str() {
                "greeter-v1: hello" => by_v1 += 1,
                other => assert_eq!(other, "greeter-v2: hello"),
            }
        }
    }
    println!("{by_v1} of 800 calls by v1");
    assert_eq!(greeters.calls(), [by_v1, 800 - by_v1, 0]);
    assert!(is_share(by_v1, 800, 0.75, 5.0), "{by_v1}");
    Ok(())
}

#[test]
fn bidirectional_stream_stays_on_one_backend_message_by_message() -> Result<()> {
    let greeters = Greeters::start(&objects(50, 50))?;
    let mut by_v1 = 0;
    for mut client in greeters.clients(4)? {
        for _ in 0..50 {
            let (name, trailers) = greeters
                .runtime
                .block_on(async {
                    let mut call = client.call().await?;
                    let name = call.exchange("a").await?;
                    for message in ["b", "", "c"] {
                        assert_eq!(call.exchange(message).await?, name);
                    }
                    Ok::<_, Status>((name, call.end().await?))
                })
                .map_err(into_error)?;
            assert_eq!(text(&trailers, "x-messages").as_deref(), Some("4"));
            by_v1 += u64::from(name == "greeter-v1");
        }
    }
    println!("{by_v1} of 200 streams by v1");
    assert_eq!(greeters.calls(), [by_v1, 200 - by_v1, 0]);
    assert!(is_share(by_v1, 200, 0.5, 5.0), "{by_v1}");
    Ok(())
}

#[test]
fn error_keeps_its_code_message_details_and_metadata() -> Result<()> {
    let greeters = Greeters::start(&objects(0, 100))?;
    let mut client = greeters.clients(1)?.remove(0);
    greeters.runtime.block_on(async {
        // The error replaces the answer.
        let mut request = Request::new("hello".to_owned());
        request.metadata_mut().insert("x-refuse", MetadataValue::from_static("please"));
        assert_failure(&client.unary(request).await.expect_err("refused"), "greeter-v2");
        // The error follows answers.
        let mut call = client.call().await.map_err(into_error)?;
        assert_eq!(call.exchange("hello").await.map_err(into_error)?, "greeter-v2");
        assert_failure(&call.exchange("fail").await.expect_err("failed"), "greeter-v2");
        // The next call on the connection succeeds.
        let response = client.unary(Request::new("hello".to_owned())).await.map_err(into_error)?;
        assert_eq!(response.get_ref(), "greeter-v2: hello");
        Ok::<_, Error>(())
    })?;
    // The failed call is not retried on another backend.
    assert_eq!(greeters.calls(), [0, 3, 0]);
    Ok(())
}

#[test]
fn open_stream_keeps_its_backend_while_weights_change() -> Result<()> {
    let greeters = Greeters::start(&objects(100, 0))?;
    let runtime = &greeters.runtime;
    let mut clients = greeters.clients(4)?;
    let mut open_calls = Vec::new();
    for client in &mut clients {
        let mut call = runtime.block_on(client.call()).map_err(into_error)?;
        assert_eq!(runtime.block_on(call.exchange("a")).map_err(into_error)?, "greeter-v1");
        open_calls.push(call);
    }
    for (v1, v2) in [(50, 50), (0, 100)] {
        greeters.sidecar.apply_objects(&greeters.guide, &objects(v1, v2))?;
        for call in &mut open_calls {
            assert_eq!(runtime.block_on(call.exchange("b")).map_err(into_error)?, "greeter-v1");
        }
    }
    // New calls on the same connections follow the new weights.
    for client in &mut clients {
        let response = runtime.block_on(client.unary(Request::new("new".to_owned()))).map_err(into_error)?;
        assert_eq!(response.get_ref(), "greeter-v2: new");
    }
    for mut call in open_calls {
        assert_eq!(runtime.block_on(call.exchange("c")).map_err(into_error)?, "greeter-v1");
        let trailers = runtime.block_on(call.end()).map_err(into_error)?;
        assert_eq!(text(&trailers, "x-messages").as_deref(), Some("4"));
    }
    assert_eq!(greeters.calls(), [4, 4, 0]);
    assert_eq!(greeters.sidecar.envoy.stat("listener_manager.listener_modified")?, 0);
    Ok(())
}

#[test]
fn mirror_copies_calls_on_ports_declared_as_grpc() -> Result<()> {
    let mut mirrored: Value = serde_json::from_str(&objects(100, 0)).map_err(into_error)?;
    mirrored["items"][3]["metadata"]["annotations"] = json!({"traffic-split/mirror": "greeter-v2=100"});
    let greeters = Greeters::start(&mirrored.to_string())?;
    let mut client = greeters.clients(1)?.remove(0);
    for _ in 0..20 {
        let response = greeters.runtime.block_on(client.unary(Request::new("hello".to_owned()))).map_err(into_error)?;
        assert_eq!(response.get_ref(), "greeter-v1: hello");
    }
    wait_for("all copies", || Ok((greeters.calls() == [20, 20, 0]).then_some(())))
}

#[test]
fn calls_succeed_on_ports_not_declared_as_grpc() -> Result<()> {
    let greeters = Greeters::start(&objects(0, 100).replace(r#""name":"grpc","#, ""))?;
    let mut client = greeters.clients(1)?.remove(0);
    let response = greeters.runtime.block_on(client.unary(Request::new("hello".to_owned()))).map_err(into_error)?;
    assert_eq!(response.get_ref(), "greeter-v2: hello");
    assert_eq!(text(response.metadata(), "x-messages").as_deref(), Some("1"));
    Ok(())
}
