#include "routerd/rpc/server.h"

#include <google/protobuf/stubs/logging.h>
#include <grpc/grpc.h>
#include <grpc/support/log.h>
#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/grpcpp.h>
#include <netdb.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "linkspan/address.h"
#include "routerd/rpc/certificates.h"
#include "routerd/rpc/fs_service.h"
#include "routerd/rpc/health.h"
#include "routerd/rpc/session_service.h"
#include "routerd/rpc/socket_file.h"

namespace linkspan::rpc {
namespace {

// gRPC says only that it could not bind; this says why.
std::string why_not(const Address& address) {
  addrinfo hints{}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE;
  if (const int error =
          getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found))
    return gai_strerror(error);
  std::string why = "gRPC could not bind it";
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int on = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(fd, found->ai_addr, found->ai_addrlen) != 0) {
    why = std::strerror(errno);
    if (errno == EADDRINUSE) why += "; stop what listens there, or choose another port";
  }
  close(fd);
  freeaddrinfo(found);
  return why;
}

void set_arguments(const ServerOptions& options, grpc::ServerBuilder* builder) {
  const auto ms = [](std::chrono::milliseconds t) { return static_cast<int>(t.count()); };
  builder->SetMaxReceiveMessageSize(static_cast<int>(limits::kMessageBytes));
  builder->SetMaxSendMessageSize(static_cast<int>(limits::kMessageBytes));
  builder->AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, bounds::kConcurrentStreams);
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder->AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                              ms(bounds::kClientPing));
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, ms(bounds::kServerPing));
  builder->AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, ms(bounds::kServerPingTimeout));
  // Who connects and says nothing is hung up on.
  builder->AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, ms(options.hello_wait));
  // Two routers on one port would each get half of the mounts.
  builder->AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
}

class GrpcServer final : public Server {
 public:
  GrpcServer(core::Router* router, ServerOptions options)
      : options_(std::move(options)),
        budget_(bounds::kUploadsMemoryBytes, options_.spool_bytes),
        workers_("rpc-worker", options_.workers, options_.queue),
        spoolers_("rpc-spool", bounds::kSpoolThreads, bounds::kSpoolQueue),
        sweeper_(bounds::kSweep),
        front_{router,
               &workers_,
               &here_,
               &spoolers_,
               &admission_,
               &metrics_,
               &budget_,
               &sweeper_,
               &uploads_,
               &streams_,
               &walks_,
               {options_.spool_dir, options_.upload_memory},
               options_.upload_stall,
               options_.hello_wait,
               options_.walk_stall},
        fs_(&front_),
        session_(&front_) {}

  ~GrpcServer() override { stop(std::chrono::milliseconds(0)); }

  Status listen() {
    grpc::EnableDefaultHealthCheckService(true);
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();
    grpc::ServerBuilder builder;
    set_arguments(options_, &builder);
    std::vector<Address> addresses;
    for (const std::string& text : options_.listen) {
      LINKSPAN_TRY(auto address, parse_address(text));
      addresses.push_back(std::move(address));
    }
    // Nobody may connect before the mode is set. (No other thread makes files while it starts.)
    const mode_t mask = umask(0177);
    std::vector<int> ports(addresses.size(), 0);
    Status added = ok();
    for (size_t i = 0; i < ports.size() && added.ok(); ++i)
      added = add(addresses[i], &builder, &ports[i]);
    builder.RegisterService(&fs_);
    builder.RegisterService(&session_);
    if (added.ok()) server_ = builder.BuildAndStart();
    umask(mask);
    LINKSPAN_CHECK(added);
    for (size_t i = 0; i < ports.size(); ++i)
      if (ports[i] == 0 && !addresses[i].is_unix())
        return fail(Code::io,
                    "cannot listen on " + to_string(addresses[i]) + ": " + why_not(addresses[i]));
    if (!server_) return fail(Code::io, "cannot listen: gRPC did not start; its log says why");
    for (const auto& socket : sockets_) LINKSPAN_CHECK(socket->set_mode(options_.socket_mode));
    for (auto& gate : gates_) gate.start();
    note_addresses(std::move(addresses), ports);
    health_ = std::make_unique<HealthMonitor>(server_->GetHealthCheckService(), options_.ping,
                                              options_.ping_period);
    return ok();
  }

  std::vector<std::string> listening() const override { return listening_; }

  MetricsSnapshot metrics() const override {
    MetricsSnapshot out = metrics_.snapshot();
    out.spooled_bytes = budget_.disk();
    out.waiting = workers_.waiting();
    return out;
  }

  bool stop(std::chrono::milliseconds grace) override {
    const std::lock_guard one(stopping_);
    if (!server_) return drained_;
    if (health_) health_->stop();
    admission_.close();
    front_.router->end_waits();
    const auto deadline = std::chrono::steady_clock::now() + grace;
    drained_ = admission_.wait_idle(deadline);
    if (!drained_)
      log_warning(std::to_string(admission_.inside()) +
                  " calls were not answered within the grace and are broken off");
    sweeper_.stop_all();
    for (auto& gate : gates_) gate.listener->stop();
    // Answers and ended streams still have to reach their clients; what is left is cancelled.
    server_->Shutdown(std::chrono::system_clock::now() + bounds::kEndDrain);
    server_->Wait();
    workers_.stop();
    spoolers_.stop();
    health_.reset();
    server_.reset();
    gates_.clear();
    sockets_.clear();
    return drained_;
  }

 private:
  // A unix socket whose peers are asked who they are.
  struct Gate {
    std::unique_ptr<UnixListener> listener;
    std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> acceptor;
    void start() {
      listener->start([to = acceptor.get()](int fd) {
        grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
        connection.fd = fd;
        to->HandleNewConnection(&connection);
      });
    }
  };

  Status add(const Address& address, grpc::ServerBuilder* builder, int* port) {
    if (address.is_unix()) LINKSPAN_CHECK(claim(address.path));
    if (address.is_unix() && !options_.socket_peers.all()) {
      using Type = grpc::ServerBuilder::experimental_type::ExternalConnectionType;
      LINKSPAN_TRY(auto listener, UnixListener::open(address.path, options_.socket_peers));
      gates_.push_back(
          {std::move(listener), builder->experimental().AddExternalConnectionAcceptor(
                                    Type::FROM_FD, grpc::InsecureServerCredentials())});
      return ok();
    }
    if (address.tls) LINKSPAN_CHECK(open_certificates());
    builder->AddListeningPort(
        address.is_unix() ? to_string(address) : host_and_port(address),
        address.tls ? certificates_->credentials() : grpc::InsecureServerCredentials(), port);
    return ok();
  }

  Status open_certificates() {
    if (certificates_) return ok();
    tls::require_tls13();
    LINKSPAN_TRY(certificates_, Certificates::open(options_.tls, options_.certificates_period));
    return ok();
  }

  Status claim(const std::string& path) {
    LINKSPAN_TRY(auto socket, SocketFile::claim(path));
    sockets_.push_back(std::move(socket));
    return ok();
  }

  void note_addresses(std::vector<Address> addresses, const std::vector<int>& ports) {
    for (size_t i = 0; i < ports.size(); ++i) {
      if (!addresses[i].is_unix()) addresses[i].port = static_cast<uint16_t>(ports[i]);
      listening_.push_back(to_string(addresses[i]));
    }
  }

  const ServerOptions options_;
  SpoolBudget budget_;
  Metrics metrics_;
  Admission admission_;
  Shares uploads_{"uploads", bounds::kSessionUploads, bounds::kTenantUploads};
  Shares streams_{"streams", bounds::kSessionStreams, bounds::kTenantStreams};
  Shares walks_{"prefetches", bounds::kSessionWalks, bounds::kTenantWalks};
  WorkerPool workers_;
  InlineSlot here_;
  WorkerPool spoolers_;
  Sweeper sweeper_;
  Front front_;
  FsService fs_;
  SessionService session_;
  std::unique_ptr<Certificates> certificates_;  // server_ asks it
  std::vector<std::unique_ptr<SocketFile>> sockets_;
  std::vector<Gate> gates_;
  std::vector<std::string> listening_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<HealthMonitor> health_;  // uses server_'s service
  std::mutex stopping_;                    // before all others: one stop() at a time
  bool drained_ = false;
};

}  // namespace

Result<std::unique_ptr<Server>> Server::start(core::Router* router, ServerOptions options) {
  // gRPC's last grpc_shutdown() may wait 10 s for a poller of its own (1.51): with a reference that
  // is kept to the end of the process it is never the last.
  [[maybe_unused]] static const bool kept = (grpc_init(), true);
  auto server = std::make_unique<GrpcServer>(router, std::move(options));
  LINKSPAN_CHECK(server->listen());
  return std::unique_ptr<Server>(std::move(server));
}

void adopt_grpc_log(void (*deaf)(const std::string& why)) {
  // Whoever connects could fill the log otherwise: protobuf says what is wrong with each message.
  google::protobuf::SetLogHandler([](google::protobuf::LogLevel, const char*, int,
                                     const std::string& text) { log_debug("protobuf: " + text); });
  static void (*told)(const std::string& why);
  told = deaf;
  gpr_set_log_function([](gpr_log_func_args* args) {
    const std::string text = std::string("grpc: ") + args->message;
    if (std::string_view(args->message).starts_with("Failed accept")) told(text);
    switch (args->severity) {
      case GPR_LOG_SEVERITY_DEBUG:
        return log_debug(text);
      case GPR_LOG_SEVERITY_INFO:
        return log_debug(text);
      case GPR_LOG_SEVERITY_ERROR:
        return log_warning(text);
    }
  });
}

}  // namespace linkspan::rpc
