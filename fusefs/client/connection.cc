#include "fusefs/client/connection.h"

#include <grpc/grpc.h>
#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

#include <chrono>

#include "linkspan/limits.h"

namespace linkspan::client {

namespace {

// gRPC's last grpc_shutdown() may wait 10 s for a poller of its own (1.51): with a reference that
// is kept to the end of the process it is never the last.
void keep_grpc() {
  [[maybe_unused]] static const bool kept = (grpc_init(), true);
}

// TCP gives up what the other side's machine does not take for so long (TCP_USER_TIMEOUT, tcp(7)):
// gRPC itself never lets go of a message that it has begun to send. Set with keepalive only.
constexpr std::chrono::milliseconds kUntaken = std::chrono::seconds(5);
constexpr std::chrono::milliseconds kKeepalive =
    std::chrono::hours(1);  // the lease is renewed often

std::shared_ptr<grpc::ChannelCredentials> credentials(const tls::Pems* pems) {
  if (!pems) return grpc::InsecureChannelCredentials();
  return grpc::SslCredentials({pems->authorities, pems->key, pems->certificate});
}

}  // namespace

std::shared_ptr<Connection> make_connection(const std::string& address, const tls::Pems* pems) {
  keep_grpc();
  constexpr int kMessage = static_cast<int>(limits::kMessageBytes);
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(kMessage);
  args.SetMaxSendMessageSize(kMessage);
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // really a new connection
  args.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);             // ours carry the operation number
  args.SetInt(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
  args.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // the sandbox's http_proxy is not the router's way
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, static_cast<int>(kKeepalive.count()));
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, static_cast<int>(kUntaken.count()));
  auto connection = std::make_shared<Connection>();
  connection->channel = grpc::CreateCustomChannel(address, credentials(pems), args);
  connection->fs = v1::Fs::NewStub(connection->channel);
  connection->session = v1::Session::NewStub(connection->channel);
  return connection;
}

void set_deadline(grpc::ClientContext* context, std::chrono::steady_clock::time_point deadline) {
  using std::chrono::nanoseconds;
  constexpr nanoseconds kForever = std::chrono::hours(24 * 365);
  const auto now = std::chrono::steady_clock::now();
  if (deadline > now + kForever) return;  // none
  const nanoseconds left = std::max<nanoseconds>(deadline - now, nanoseconds(0));
  context->set_deadline(
      gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_nanos(left.count(), GPR_TIMESPAN)));
}

}  // namespace linkspan::client
