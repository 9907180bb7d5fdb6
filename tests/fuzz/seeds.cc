// Writes the seeds of the corpus: messages of a session that a real router answered, and texts as
// people write them. By hand, when a message was added: seeds tests/fuzz/corpus
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>

#include "linkspan/convert_status.h"
#include "routerd/core/router.h"
#include "tests/fuzz/messages.h"

namespace linkspan::fuzz {
namespace {

std::filesystem::path corpus;

void put(const std::string& kind, const std::string& name, uint8_t number,
         const std::string& bytes) {
  std::filesystem::create_directories(corpus / kind);
  std::ofstream(corpus / kind / name) << static_cast<char>(number) << bytes;
}

template <class Wire, class Domain>
void message(const std::string& name, Domain domain) {
  Wire wire;
  write(std::move(domain), &wire);
  const std::string bytes = wire.SerializeAsString();
  const bool request =
      Requests::number_of<Wire>() != Requests::kCount &&
      (Requests::number_of<Wire>() != 0 || std::is_same_v<Wire, v1::LookupRequest>);
  if (request)
    put("requests", name, Requests::number_of<Wire>(), bytes);
  else
    put("replies", name, Replies::number_of<Wire>(), bytes);
}

// Of one that must have an answer.
template <class T>
T must(Result<T> result) {
  require(result.ok(), result.ok() ? "" : result.error().message.c_str());
  return *std::move(result);
}

class Sink final : public core::StreamSink {
 public:
  void welcome(std::chrono::milliseconds lease, bool resumed) override {
    message<v1::RouterFrame>("welcome", wire::RouterFrame(wire::Welcome{lease, resumed}));
  }
  void renewed(uint64_t nonce, std::chrono::milliseconds lease) override {
    message<v1::RouterFrame>("renewed", wire::RouterFrame(wire::Renewed{nonce, lease}));
  }
  void revoke(const Revocation& revocation) override {
    message<v1::RouterFrame>("revoke", wire::RouterFrame(revocation));
  }
  void end(const Error& why) override {
    message<v1::RouterFrame>("end", wire::RouterFrame(wire::End{why}));
  }
};

class Session {
 public:
  Session() {
    auto store = store::make_mem_store();
    store::TenantSpec tenant;
    tenant.name = "default";
    tenant.volumes = {{"memory"}};
    must(store->provision(tenant, Time{1}));
    store::TokenRecord token;
    token.hash = store::hash_token("lsp_seed");
    token.tenant = "default";
    token.principal = "agent";
    Route route;
    route.path = route.volume = "memory";
    route.rights = Access::read_write;
    PolicyPattern pattern{"journal/**/*.log"};
    pattern.access = Access::append_only;
    pattern.policy = Policy::reject;
    pattern.max_bytes = 1 << 20;
    pattern.no_exec = true;
    pattern.allowed = {"*.log", "*.md"};
    route.patterns = {pattern};
    token.routes = {route};
    must(store->put_token(token));
    core::RouterOptions options;
    options.name = "linkspan 0.1.0";
    router_ = core::make_router(std::move(store), options);
  }
  ~Session() { router_->stop(); }

  void run() {
    attach();
    const auto dir = create("create-dir", root_, "notes", Kind::directory);
    const auto file = create("create-file", root_, "MEMORY.md", Kind::file);
    create("create-symlink", root_, "link", Kind::symlink);
    commit(file, "remember\n");
    commit(file, "other\n", Version(1));  // refused, and kept
    mutate<v1::SetXattrRequest>("set-xattr", &core::Router::set_xattr,
                                SetXattrRequest{op(), file, "user.note", "text", false, false});
    SetAttrRequest set;
    set.op = op();
    set.ino = file;
    set.mode = 0600;
    set.mtime = Time{1};
    mutate<v1::SetAttrRequest>("set-attr", &core::Router::set_attributes, set);
    reads(file);
    mutate<v1::LinkRequest>("link-file", &core::Router::link, LinkRequest{op(), file, dir, "two"});
    RenameRequest rename;
    rename.op = op();
    rename.from_parent = rename.to_parent = root_;
    rename.from_name = "link";
    rename.to_name = "renamed";
    mutate<v1::RenameRequest>("rename", &core::Router::rename, rename);
    mutate<v1::RemoveRequest>("remove", &core::Router::remove,
                              RemoveRequest{op(), root_, "renamed", false});
    locks(file);
    mutate<v1::SettleRequest>("settle", &core::Router::settle, SettleRequest{op(), Seq(1)});
    narrow();
    router_->give_up(who_, OpNumber(99), [](Result<Seq> reply) {
      message<v1::GiveUpReply>("give-up", must(std::move(reply)));
    });
    message<v1::GiveUpRequest>("give-up", OpNumber(99));
    message<v1::ClientFrame>("hello", wire::ClientFrame(wire::Hello{3}));
    message<v1::ClientFrame>("renew", wire::ClientFrame(wire::Renew{OpNumber(5), 7}));
    message<v1::ClientFrame>("ack", wire::ClientFrame(wire::Ack{4}));
    require(router_->detach(who_).ok(), "detached");
  }

 private:
  OpHeader op() { return {OpNumber(++number_), OpNumber(1), false}; }

  void attach() {
    message<v1::AttachRequest>("attach",
                               wire::Attach{"lsp_seed", "linkspan 0.1.0 host 17", SessionId(7),
                                            std::string(16, 's'), 3, std::string(32, 'i')});
    auto reply = must(router_->attach({"lsp_seed", "linkspan", {}, {}, 0, "unix:", {}}));
    who_ = {reply.session, reply.secret, "unix:"};
    root_ = reply.routes.at(0).root;
    put("requests", "credential", Requests::kCount + 1,
        wire::encode_credential({reply.session, reply.secret}));
    message<v1::AttachReply>("attach", wire::Attached{reply.session,
                                                      reply.secret,
                                                      reply.lease,
                                                      reply.routes,
                                                      reply.tenant,
                                                      reply.principal,
                                                      reply.sandbox,
                                                      reply.router,
                                                      reply.seq,
                                                      true,
                                                      Time{5},
                                                      {}});
    require(router_->open_stream(who_, 0, std::make_shared<Sink>()).ok(), "a stream");
    router_->renew(who_.session, OpNumber(1), 9);
    Revocation revocation;
    revocation.number = 1;
    revocation.seq = Seq(7);
    revocation.nodes = {{Ino(17), true, false}, {Ino(16), false, true}};
    revocation.names = {{Ino(16), "MEMORY.md"}};
    Sink().revoke(revocation);
  }
  template <class Wire, class Request, class Op>
  std::optional<MutationReply> mutate(const std::string& name, Op call, Request request) {
    message<Wire>(name, request);
    Result<MutationReply> out = fail(Code::internal, "no answer");
    ((*router_).*call)(who_, std::move(request),
                       [&out](Result<MutationReply> reply) { out = std::move(reply); });
    if (out.ok())
      message<v1::MutationReply>(name, *out);
    else
      put("replies", "error-" + name, Replies::kCount, wire::encode_error(out.error()));
    return out.ok() ? std::optional(*std::move(out)) : std::nullopt;
  }
  Ino create(const std::string& name, Ino parent, const std::string& as, Kind kind) {
    CreateRequest request;
    request.op = op();
    request.parent = parent;
    request.name = as;
    request.kind = kind;
    request.mode = 0644;
    if (kind == Kind::symlink) request.target = "../MEMORY.md";
    return mutate<v1::CreateRequest>(name, &core::Router::create, request)
        .value()
        .nodes.at(0)
        .attr.ino;
  }
  void commit(Ino file, const std::string& text, std::optional<Version> base = {}) {
    CommitRequest request;
    request.op = op();
    request.ino = file;
    request.base = base;
    request.size = text.size();
    request.extents = std::make_shared<ExtentList>(std::vector<Extent>{{0, text.size(), text}});
    v1::CommitPart part;
    wire::add_extent({0, text.size(), text}, &part);
    wire::add_extent({65536, 4096, {}}, &part);
    const std::string bytes = part.SerializeAsString();
    put("requests", "commit-part", Requests::kCount,
        std::string{static_cast<char>(bytes.size()), 0} + bytes);
    mutate<v1::CommitPart::Head>(base ? "commit-refused" : "commit", &core::Router::commit,
                                 request);
  }
  template <class Wire, class Reply, class Request, class Op>
  void read(const std::string& name, Op call, Request request) {
    message<Wire>(name, request);
    message<Reply>(name, must(((*router_).*call)(who_, request)));
  }
  void reads(Ino file) {
    using R = core::Router;
    read<v1::LookupRequest, v1::LookupReply>("lookup", &R::lookup,
                                             LookupRequest{root_, "MEMORY.md", true});
    read<v1::LookupRequest, v1::LookupReply>("lookup-none", &R::lookup,
                                             LookupRequest{root_, "none", false});
    read<v1::GetAttrRequest, v1::NodeReply>("getattr", &R::getattr, GetAttrRequest{file, true});
    read<v1::ReadDirRequest, v1::ReadDirReply>("readdir", &R::readdir,
                                               ReadDirRequest{root_, Cookie(), 100, true});
    message<v1::PrefetchRequest>("prefetch", wire::PrefetchRequest{root_, 1 << 20, 100});
    message<v1::PrefetchReply>(
        "prefetch",
        wire::PrefetchPage{root_, must(router_->readdir(who_, {root_, Cookie(), 9, true}))});
    read<v1::ReadRequest, v1::ReadReply>("read", &R::read, ReadRequest{file, Version(), 0, 4096});
    read<v1::DataRangesRequest, v1::DataRangesReply>("data-ranges", &R::data_ranges,
                                                     DataRangesRequest{file, Version(), 0});
    read<v1::XattrsRequest, v1::XattrsReply>("xattrs", &R::xattrs, file);
    read<v1::StatFsRequest, v1::StatFsReply>("statfs", &R::statfs, file);
    read<v1::VersionsRequest, v1::VersionsReply>("versions", &R::versions,
                                                 VersionsRequest{file, Version(), 10});
    ChangesRequest changes;
    changes.limit = 10;
    changes.below = "MEMORY.md";
    changes.principal = "agent";
    read<v1::ChangesRequest, v1::ChangesReply>("changes", &R::changes, changes);
    read<v1::ConflictsRequest, v1::ConflictsReply>("conflicts", &R::conflicts,
                                                   ConflictsRequest{Seq(), 10});
  }
  void locks(Ino file) {
    Lock lock;
    lock.ino = file;
    lock.owner = 7;
    lock.type = LockType::exclusive;
    lock.range = {0, 10};
    lock.pid = 17;
    const SetLockRequest set{OpNumber(1), OpNumber(1), lock, LockWait::no};
    message<v1::SetLockRequest>("set-lock", set);
    router_->set_lock(who_, set, [](Result<SetLockReply> reply) {
      message<v1::SetLockReply>("set-lock", must(std::move(reply)));
    });
    lock.owner = 8;
    read<v1::TestLockRequest, v1::TestLockReply>("test-lock", &core::Router::test_lock,
                                                 TestLockRequest{lock});
    read<v1::CancelLockRequest, v1::CancelLockReply>("cancel-lock", &core::Router::cancel_lock,
                                                     CancelLockRequest{OpNumber(2), OpNumber(1)});
    read<v1::ReclaimLocksRequest, v1::ReclaimLocksReply>(
        "reclaim-locks", &core::Router::reclaim_locks, ReclaimLocksRequest{{lock}});
  }
  void narrow() {
    wire::Narrow ask;
    ask.proof = {"lsp_seed", {}};
    ask.request.reaches = {{"memory/notes", Access::read_only}};
    ask.request.sandbox = "child";
    message<v1::NarrowRequest>("narrow", ask);
    message<v1::NarrowReply>("narrow", must(router_->narrow(who_, ask.proof, ask.request)));
  }

  std::unique_ptr<core::Router> router_;
  core::Credentials who_;
  Ino root_;
  uint64_t number_ = 0;
};

// Of fuzz_texts.cc.
void texts(const std::string& configuration) {
  enum : uint8_t { kConfig, kToken, kAddress, kPattern, kNarrow, kAnswer, kWords, kNames };
  const auto text = [](uint8_t kind, const std::string& name, const std::string& said) {
    put("texts", name, kind, said);
  };
  std::ifstream file(configuration);
  text(kConfig, "routerd.toml", {std::istreambuf_iterator<char>(file), {}});
  text(kConfig, "all.toml", R"(store = "mem:"
listen = ["unix:/run/x", "tls://0.0.0.0:7001", "127.0.0.1:7000"]
lease_ms = 5000
workers = 16
allow_plaintext_tcp = false
socket_mode = "0660"
socket_users = ["root", "1000"]
spool_dir = "/var/tmp"
[tls]
certificate = "/c"
key = "/k"
[log]
level = "info"
format = "json"
[[tenant]]
name = "default"
[[tenant.volume]]
name = "memory"
quota_bytes = 100
quota_files = 7
keep_versions = 1000
keep_days = 90
[[tenant.token]]
sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
principal = "agent"
expires = 2030-01-01T00:00:00Z
bind = true
sources = ["10.0.0.0/8"]
renew_s = 900
[[tenant.token.route]]
path = "memory"
volume = "memory"
rights = "rw"
policy = "merge"
timeout_ms = 30000
[[tenant.token.route.pattern]]
glob = "journal/**/*.log"
policy = "last-writer-wins"
access = "append-only"
no_exec = true
max_bytes = 100
allowed = ["*.log"]
)");
  text(kToken, "hash", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  text(kToken, "token", "lsp_" + std::string(43, 'A'));
  text(kToken, "mode", "0660");
  text(kAddress, "tls", "tls://router.example:7001");
  text(kAddress, "unix", "unix:/run/linkspan/router.sock");
  text(kAddress, "v6", "[::1]:7000\nipv6:[::1]:80");
  text(kAddress, "range4", "10.0.0.0/8\nipv4:10.1.2.3:4567");
  text(kAddress, "range6", "2001:db8::/32\nipv6:[2001:db8::7]:4567");
  text(kPattern, "double-star", "journal/**/*.log\njournal/a/b.log\njournal/c");
  text(kPattern, "class", "/[a-c]?*.[!m]d\nb1x.cd\n*");
  text(kNarrow, "narrow",
       R"({"op":"narrow","reaches":[{"path":"memory/x","rights":"ro"}],)"
       R"("rights":"append","expires_ns":9,"sandbox":"child"})");
  text(kAnswer, "change",
       R"({"seq":1,"what":"write","ino":17,"version":2,"size":3,)"
       R"("path":"a","path_hex":"61ff","time_ns":-5,"session":"00ff"})");
  text(kAnswer, "narrowed",
       R"({"token":"lsp_x","routes":[{"path":"memory","rights":"rw",)"
       R"("reaches":[{"path":"a"}]}],"expires_ns":7})");
  text(kWords, "since", "2026-11-20T14:30:05Z");
  text(kWords, "duration", "90s");
  text(kWords, "mountinfo",
       "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 - ext3 /dev/root rw\n");
  text(kNames, "path", "memory/projects/x");
}

}  // namespace
}  // namespace linkspan::fuzz

int main(int argc, char** argv) {
  using namespace linkspan::fuzz;
  if (argc != 3) {
    std::cerr << "usage: seeds CORPUS packaging/routerd.toml\n";
    return 2;
  }
  corpus = argv[1];
  Session().run();
  texts(argv[2]);
  // What a mount does under a hostile router is found, not written: these only say how long.
  for (int i = 0; i < 8; ++i) {
    std::string bytes;
    uint32_t random = 1000u + static_cast<uint32_t>(i);
    for (int n = 0; n < 1500; ++n)
      bytes += static_cast<char>((random = random * 1664525u + 1013904223u) >> 24);
    put("mount", "random-" + std::to_string(i), static_cast<uint8_t>(i), bytes);
  }
}
