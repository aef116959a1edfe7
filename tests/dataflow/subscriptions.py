"""As much of Pub/Sub on loopback as who sends a stream asks: which topic a subscription is of. It has no messages."""

from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
from google.pubsub_v1 import types


@contextmanager
def subscriptions(topic: str) -> Iterator[str]:
    """Where a service is, host:port, of which every subscription is of a topic."""

    def about(request: Any, _: grpc.ServicerContext) -> Any:
        return types.Subscription(name=request.subscription, topic=topic, ack_deadline_seconds=60)

    answer = grpc.unary_unary_rpc_method_handler(
        about,
        request_deserializer=types.GetSubscriptionRequest.deserialize,
        response_serializer=types.Subscription.serialize,
    )
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=2))
    handlers = {"GetSubscription": answer}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("google.pubsub.v1.Subscriber", handlers)])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(0).wait()
