// Latency of single operations on a mount, beside a local directory, one bare gRPC echo over a unix
// socket and one bare durable Postgres commit, interleaved in one run. Prints one JSON object:
// medians in microseconds. tests/bench/latency.py starts the lab and prints the table.
#include <dirent.h>
#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <libpq-fe.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "linkspan/v1/session.grpc.pb.h"

namespace {

using Clock = std::chrono::steady_clock;
using Samples = std::vector<double>;

[[noreturn]] void die(const std::string& what) {
  std::perror(("latency: " + what).c_str());
  std::exit(1);
}
void must(bool good, const char* what) {
  if (!good) die(what);
}

double timed(const std::function<void()>& call) {
  auto begun = Clock::now();
  call();
  return std::chrono::duration<double, std::micro>(Clock::now() - begun).count();
}

double percentile(Samples samples, double which) {
  std::sort(samples.begin(), samples.end());
  auto at = static_cast<size_t>(which * static_cast<double>(samples.size()));
  return samples[std::min(samples.size() - 1, at)];
}

const std::string kBlock(4096, 'x');

void write_file(const std::string& path, bool sync) {
  int fd = open(path.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0644);
  must(fd >= 0, "open for writing");
  must(write(fd, kBlock.data(), kBlock.size()) == 4096, "write");
  if (sync) must(fsync(fd) == 0, "fsync");
  must(close(fd) == 0, "close");
}

// The operations of one tree; each call is one sample.
class Tree {
 public:
  explicit Tree(std::string root) : root_(std::move(root)) {
    must(mkdir(root_.c_str(), 0755) == 0, "mkdir of the tree");
    write_file(root_ + "/warm", false);
    must(mkdir((root_ + "/thousand").c_str(), 0755) == 0, "mkdir");
    for (int i = 0; i < 1000; ++i) write_file(root_ + "/thousand/f" + std::to_string(i), false);
  }

  void stat_warm() {
    struct stat st;
    must(stat((root_ + "/warm").c_str(), &st) == 0, "stat");
  }
  void open_read_close() {
    char buffer[4096];
    int fd = open((root_ + "/warm").c_str(), O_RDONLY);
    must(fd >= 0 && read(fd, buffer, sizeof buffer) == 4096 && close(fd) == 0, "read");
  }
  void atomic_save() {
    write_file(root_ + "/save.tmp", true);
    must(rename((root_ + "/save.tmp").c_str(), (root_ + "/save").c_str()) == 0, "rename");
  }
  void create() {
    auto path = root_ + "/c" + std::to_string(next_++);
    int fd = open(path.c_str(), O_CREAT | O_EXCL | O_WRONLY, 0644);
    must(fd >= 0 && close(fd) == 0, "create");
  }
  void make_directory() {
    must(mkdir((root_ + "/d" + std::to_string(next_++)).c_str(), 0755) == 0, "mkdir");
  }
  void list_thousand() {
    DIR* dir = opendir((root_ + "/thousand").c_str());
    must(dir != nullptr, "opendir");
    int count = 0;
    while (readdir(dir)) ++count;
    must(count == 1002, "readdir of 1,000");
    closedir(dir);
  }
  void append() {
    int fd = open((root_ + "/log").c_str(), O_CREAT | O_WRONLY | O_APPEND, 0644);
    must(fd >= 0 && write(fd, kBlock.data(), 100) == 100 && close(fd) == 0, "append");
  }

 private:
  std::string root_;
  int next_ = 0;
};

// Answers at once, on gRPC's callback threads.
class Echo final : public linkspan::v1::Session::CallbackService {
  grpc::ServerUnaryReactor* Detach(grpc::CallbackServerContext* context,
                                   const linkspan::v1::DetachRequest*,
                                   linkspan::v1::DetachReply*) override {
    auto* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }
};

void exec(PGconn* conn, const char* sql) {
  PGresult* result = PQexec(conn, sql);
  auto status = PQresultStatus(result);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
    std::fprintf(stderr, "latency: %s: %s", sql, PQerrorMessage(conn));
    std::exit(1);
  }
  PQclear(result);
}

struct Operation {
  const char* name;
  void (Tree::*call)();
  int repeat;
};
const Operation kOperations[] = {
    {"stat", &Tree::stat_warm, 20},         {"open_read4k_close", &Tree::open_read_close, 10},
    {"atomic_save", &Tree::atomic_save, 1}, {"create", &Tree::create, 1},
    {"mkdir", &Tree::make_directory, 1},    {"readdir_1000", &Tree::list_thousand, 1},
    {"append_100b", &Tree::append, 1}};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    std::fprintf(stderr, "usage: latency MOUNTED_DIR LOCAL_DIR CONNINFO SOCKET ROUNDS\n");
    return 2;
  }
  const int rounds = std::atoi(argv[5]);
  const std::string address = std::string("unix:") + argv[4];

  Echo service;
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, grpc::InsecureServerCredentials());
  builder.RegisterService(&service);
  auto server = builder.BuildAndStart();
  auto channel = grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  auto stub = linkspan::v1::Session::NewStub(channel);
  PGconn* conn = PQconnectdb(argv[3]);
  if (PQstatus(conn) != CONNECTION_OK) {
    std::fprintf(stderr, "latency: %s", PQerrorMessage(conn));
    return 1;
  }
  exec(conn, "create table if not exists latency_bare(i bigserial primary key, b bytea)");
  exec(conn, "prepare bare as insert into latency_bare(b) values ('x')");

  Tree mounted(argv[1]), local(argv[2]);
  std::map<std::string, std::map<std::string, Samples>> samples;
  for (int round = 0; round < rounds; ++round) {
    for (const auto& operation : kOperations) {
      auto& sides = samples[operation.name];
      for (int i = 0; i < operation.repeat; ++i) {
        sides["mount"].push_back(timed([&] { (mounted.*operation.call)(); }));
        sides["local"].push_back(timed([&] { (local.*operation.call)(); }));
      }
    }
    samples["grpc_echo"]["bare"].push_back(timed([&] {
      grpc::ClientContext context;
      linkspan::v1::DetachReply reply;
      must(stub->Detach(&context, {}, &reply).ok(), "echo");
    }));
    samples["pg_commit"]["bare"].push_back(timed([&] { exec(conn, "execute bare"); }));
  }
  exec(conn, "drop table latency_bare");
  PQfinish(conn);
  server->Shutdown();

  nlohmann::json out;
  for (const auto& [name, sides] : samples)
    for (const auto& [side, values] : sides) {
      out[name][side + "_p50_us"] = percentile(values, 0.5);
      out[name][side + "_p99_us"] = percentile(values, 0.99);
    }
  std::printf("%s\n", out.dump(1).c_str());
}
