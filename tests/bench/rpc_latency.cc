// Latency of single RPCs by raw stubs against a running router, each beside one bare gRPC echo (the
// health check) on the same connection, interleaved in one run. Prints a table: microseconds.
//   rpc-latency TOKEN ADDRESS...        (LINKSPAN_BENCH_ROUNDS, 2000 unless set)
#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/client_unary_call.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "linkspan/convert.h"
#include "linkspan/v1/fs.grpc.pb.h"
#include "linkspan/v1/session.grpc.pb.h"

namespace {

using namespace linkspan;
using Clock = std::chrono::steady_clock;

void must(const grpc::Status& status, const char* what) {
  if (status.ok()) return;
  std::fprintf(stderr, "rpc-latency: %s: %s\n", what, status.error_message().c_str());
  std::exit(1);
}

double percentile(std::vector<double> samples, double which) {
  std::sort(samples.begin(), samples.end());
  const auto at = static_cast<size_t>(which * static_cast<double>(samples.size()));
  return samples[std::min(samples.size() - 1, at)];
}

class Bench {
 public:
  Bench(const std::string& token, const std::string& address)
      : channel_(grpc::CreateChannel(address, grpc::InsecureChannelCredentials())),
        fs_(v1::Fs::NewStub(channel_)) {
    grpc::ClientContext context;
    v1::AttachRequest request;
    v1::AttachReply attached;
    request.set_token(token);
    must(v1::Session::NewStub(channel_)->Attach(&context, request, &attached), "attach");
    credential_ = wire::encode_credential({SessionId(attached.session()), attached.secret()});
    for (const auto& route : attached.routes())
      if (route.writable()) root_ = route.root_ino();
    prefix_ = std::to_string(Clock::now().time_since_epoch().count());
    mutate("probe");
  }

  void echo() {
    grpc::ClientContext context;
    const grpc::Slice nothing;
    grpc::ByteBuffer in(&nothing, 1), out;
    must(grpc::internal::BlockingUnaryCall(channel_.get(), health_, &context, in, &out), "echo");
  }
  void lookup() {
    grpc::ClientContext context;
    context.AddMetadata(wire::kSessionKey, credential_);
    v1::LookupRequest request;
    v1::LookupReply reply;
    request.set_parent(root_);
    request.set_name(prefix_ + "probe");
    must(fs_->Lookup(&context, request, &reply), "lookup");
  }
  void create() { mutate(std::to_string(number_)); }
  void commit() {
    grpc::ClientContext context;
    context.AddMetadata(wire::kSessionKey, credential_);
    v1::MutationReply reply;
    auto upload = fs_->Commit(&context, &reply);
    v1::CommitPart part;
    part.mutable_head()->mutable_op()->set_number(++number_);
    part.mutable_head()->mutable_op()->set_answered_below(number_);
    part.mutable_head()->set_ino(last_);
    part.mutable_head()->set_size(4096);
    auto* extent = part.add_extents();
    extent->set_length(4096);
    extent->set_data(std::string(4096, 'x'));
    upload->WriteLast(part, grpc::WriteOptions());
    must(upload->Finish(), "commit");
  }

 private:
  void mutate(const std::string& name) {
    grpc::ClientContext context;
    context.AddMetadata(wire::kSessionKey, credential_);
    v1::CreateRequest request;
    v1::MutationReply reply;
    request.mutable_op()->set_number(++number_);
    request.mutable_op()->set_answered_below(number_);
    request.set_parent(root_);
    request.set_name(prefix_ + name);
    request.set_kind(v1::KIND_FILE);
    request.set_mode(0644);
    must(fs_->Create(&context, request, &reply), "create");
    last_ = reply.nodes(0).attr().ino();
  }

  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Fs::Stub> fs_;
  const grpc::internal::RpcMethod health_{"/grpc.health.v1.Health/Check",
                                          grpc::internal::RpcMethod::NORMAL_RPC};
  std::string credential_, prefix_;
  uint64_t root_ = 0, number_ = 0, last_ = 0;
};

double timed(const std::function<void()>& call) {
  const auto begun = Clock::now();
  call();
  return std::chrono::duration<double, std::micro>(Clock::now() - begun).count();
}

void run(const std::string& token, const std::string& address, int rounds) {
  Bench bench(token, address);
  std::vector<double> echo, lookup, create, commit;
  for (int i = 0; i < rounds / 10; ++i) bench.echo();  // warm
  for (int i = 0; i < rounds; ++i) {
    echo.push_back(timed([&] { bench.echo(); }));
    lookup.push_back(timed([&] { bench.lookup(); }));
    create.push_back(timed([&] { bench.create(); }));
    commit.push_back(timed([&] { bench.commit(); }));
  }
  const auto row = [&](const char* what, const std::vector<double>& samples) {
    std::printf("%-40s %-7s p50 %7.0f  p90 %7.0f  p99 %7.0f\n", address.c_str(), what,
                percentile(samples, 0.5), percentile(samples, 0.9), percentile(samples, 0.99));
  };
  row("echo", echo);
  row("Lookup", lookup);
  row("Create", create);
  row("Commit", commit);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: rpc-latency TOKEN ADDRESS...\n");
    return 2;
  }
  const char* rounds = std::getenv("LINKSPAN_BENCH_ROUNDS");
  for (int i = 2; i < argc; ++i) run(argv[1], argv[i], rounds ? std::atoi(rounds) : 2000);
  return 0;
}
