// A core::Router for the tests of the gRPC front: answers from what the test sets, and can be held
// up.
#pragma once

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "routerd/core/router.h"

namespace linkspan::rpc::testing {

// Holds up whoever passes until it is opened.
class Latch {
 public:
  void pass() {
    std::unique_lock lock(mutex_);
    ++passing_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return open_; });
  }
  void wait_for(unsigned passing) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return passing_ >= passing; });
  }
  void open() {
    const std::lock_guard lock(mutex_);
    open_ = true;
    changed_.notify_all();
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  unsigned passing_ = 0;
  bool open_ = false;
};

inline Node a_node(uint64_t ino, Kind kind = Kind::file) {
  Node node;
  node.attr.ino = Ino(ino);
  node.attr.kind = kind;
  node.attr.mode = 0644;
  node.attr.nlink = 1;
  if (kind == Kind::directory) node.attr.parent = Ino(16);
  if (kind == Kind::file) node.attr.version = Version(1);
  return node;
}

inline const std::string kSecret(16, 's');
inline const SessionId kSession(77);

class FakeRouter final : public core::Router {
 public:
  // What the test sets before it calls.
  Latch* hold_lookup = nullptr;
  std::string throw_in_lookup;
  bool hold_mutations = false;                     // `done` is kept in held(), not called
  bool drop_mutations = false;                     // `done` is let go of without a call
  std::vector<std::vector<DirEntry>> directories;  // pages of Ino 16 + i
  uint32_t page_entries = 2;

  Result<core::AttachReply> attach(const core::AttachRequest& request) override {
    if (request.token != "good")
      return fail(Code::unauthenticated, "the token is not known; ask for a new one");
    core::AttachReply reply;
    reply.session = kSession;
    reply.secret = kSecret;
    reply.lease = std::chrono::milliseconds(1000);
    reply.tenant = "default";
    reply.principal = "agent";
    reply.sandbox = "box";
    reply.router = "fake";
    return reply;
  }
  Status detach(const core::Credentials& who) override {
    LINKSPAN_CHECK(check(who));
    return ok();
  }
  Status open_stream(const core::Credentials& who, uint64_t last_revocation,
                     std::shared_ptr<core::StreamSink> sink) override {
    LINKSPAN_CHECK(check(who));
    sink->welcome(std::chrono::milliseconds(1000), last_revocation == 0);
    const std::lock_guard lock(mutex_);
    sink_ = std::move(sink);
    changed_.notify_all();
    return ok();
  }
  Result<NarrowReply> narrow(const core::Credentials& who, const NarrowProof& proof,
                             const NarrowRequest& request) override {
    if (proof.token.empty()) LINKSPAN_CHECK(check(who));
    NarrowReply reply;
    reply.token = proof.token + "+" + request.sandbox;
    reply.sandbox = who.peer;
    return reply;
  }
  void renew(SessionId, OpNumber, uint64_t nonce) override {
    if (auto to = sink()) to->renewed(nonce, std::chrono::milliseconds(1000));
  }
  void acknowledge(SessionId, uint64_t revocation) override {
    const std::lock_guard lock(mutex_);
    acknowledged_ = revocation;
    changed_.notify_all();
  }
  void stream_closed(SessionId, const core::StreamSink* closed) override {
    const std::lock_guard lock(mutex_);
    if (sink_.get() == closed) sink_.reset();
    ++closed_;
    changed_.notify_all();
  }

  Result<LookupReply> lookup(const core::Credentials& who, const LookupRequest& request) override {
    LINKSPAN_CHECK(check(who));
    if (hold_lookup) hold_lookup->pass();
    if (!throw_in_lookup.empty()) throw std::runtime_error(throw_in_lookup);
    if (request.name == "gone") return LookupReply{std::nullopt, Seq(5)};
    return LookupReply{a_node(99), Seq(5)};
  }
  Result<NodeReply> getattr(const core::Credentials& who, const GetAttrRequest& request) override {
    LINKSPAN_CHECK(check(who));
    return NodeReply{a_node(request.ino.value), Seq(5)};
  }
  void remove_directories() {
    const std::lock_guard lock(mutex_);
    directories.clear();
  }
  Result<ReadDirReply> readdir(const core::Credentials& who,
                               const ReadDirRequest& request) override {
    LINKSPAN_CHECK(check(who));
    const std::lock_guard lock(mutex_);
    const uint64_t index = request.dir.value - 16;
    if (index >= directories.size()) return fail(Code::stale_node, "the directory is gone");
    ReadDirReply reply;
    reply.dir = a_node(request.dir.value, Kind::directory);
    const auto& all = directories[index];
    size_t at = request.after.value;
    while (at < all.size() && reply.entries.size() < std::min(page_entries, request.limit)) {
      reply.entries.push_back(all[at++]);
      reply.entries.back().cookie = Cookie(at);
    }
    reply.end = at == all.size();
    return reply;
  }
  Result<ReadReply> read(const core::Credentials& who, const ReadRequest& request) override {
    LINKSPAN_CHECK(check(who));
    return ReadReply{std::string(request.length, 'x'), Version(1), request.length, Seq(5)};
  }
  Result<DataRangesReply> data_ranges(const core::Credentials& who,
                                      const DataRangesRequest&) override {
    LINKSPAN_CHECK(check(who));
    return DataRangesReply{{{0, 1}}, 2, 2, Version(1)};
  }
  Result<XattrsReply> xattrs(const core::Credentials& who, Ino) override {
    LINKSPAN_CHECK(check(who));
    return XattrsReply{};
  }
  Result<StatFsReply> statfs(const core::Credentials& who, Ino) override {
    LINKSPAN_CHECK(check(who));
    return StatFsReply{1, 2, 3, 4};
  }
  Result<std::vector<VersionInfo>> versions(const core::Credentials& who,
                                            const VersionsRequest&) override {
    LINKSPAN_CHECK(check(who));
    return std::vector<VersionInfo>{};
  }
  Result<ChangesReply> changes(const core::Credentials& who, const ChangesRequest&) override {
    LINKSPAN_CHECK(check(who));
    return ChangesReply{};
  }
  Result<ConflictsReply> conflicts(const core::Credentials& who, const ConflictsRequest&) override {
    LINKSPAN_CHECK(check(who));
    return ConflictsReply{};
  }

  void create(const core::Credentials& who, CreateRequest, core::MutationDone done) override {
    mutate(who, std::move(done));
  }
  void remove(const core::Credentials& who, RemoveRequest, core::MutationDone done) override {
    mutate(who, std::move(done));
  }
  void rename(const core::Credentials& who, RenameRequest, core::MutationDone done) override {
    mutate(who, std::move(done));
  }
  void link(const core::Credentials& who, LinkRequest, core::MutationDone done) override {
    mutate(who, std::move(done));
  }
  void set_attributes(const core::Credentials& who, SetAttrRequest,
                      core::MutationDone done) override {
    mutate(who, std::move(done));
  }
  void set_xattr(const core::Credentials& who, SetXattrRequest, core::MutationDone done) override {
    mutate(who, std::move(done));
  }
  void settle(const core::Credentials& who, SettleRequest, core::MutationDone done) override {
    mutate(who, std::move(done));
  }
  void give_up(const core::Credentials& who, OpNumber number, core::GiveUpDone done) override {
    if (auto known = check(who); !known.ok()) return done(known.error());
    done(Seq(number.value + 1));
  }
  // Keeps the extents as they were read, twice, so that rewind() is tried too.
  void commit(const core::Credentials& who, CommitRequest request,
              core::MutationDone done) override {
    std::vector<Extent> first = drain(request), second;
    request.extents->rewind();
    second = drain(request);
    {
      const std::lock_guard lock(mutex_);
      committed_ = std::move(first);
      committed_again_ = std::move(second);
      request_ = request;
      request_.extents.reset();
    }
    mutate(who, std::move(done));
  }
  // A lock that is waited for is kept until end_waits().
  void set_lock(const core::Credentials& who, const SetLockRequest& request,
                core::LockDone done) override {
    if (auto known = check(who); !known.ok()) return done(known.error());
    if (request.wait != LockWait::stay) return done(SetLockReply{request.number.value});
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(done));
    changed_.notify_all();
  }
  Result<TestLockReply> test_lock(const core::Credentials& who,
                                  const TestLockRequest& request) override {
    LINKSPAN_CHECK(check(who));
    return TestLockReply{request.lock, true};
  }
  Result<CancelLockReply> cancel_lock(const core::Credentials& who,
                                      const CancelLockRequest& request) override {
    LINKSPAN_CHECK(check(who));
    return CancelLockReply{true, request.number.value};
  }
  Result<ReclaimLocksReply> reclaim_locks(const core::Credentials& who,
                                          const ReclaimLocksRequest& request) override {
    LINKSPAN_CHECK(check(who));
    return ReclaimLocksReply{{static_cast<uint32_t>(request.locks.size() - 1)}};
  }
  void end_waits() override {
    std::vector<core::LockDone> waiting;
    {
      const std::lock_guard lock(mutex_);
      waiting.swap(waiting_);
    }
    for (const auto& done : waiting) done(fail(Code::unavailable, "the router is stopping"));
  }
  void wait_lock_waits() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !waiting_.empty(); });
  }

  void stop() override {}

  // What the test looks at.
  std::shared_ptr<core::StreamSink> sink() {
    const std::lock_guard lock(mutex_);
    return sink_;
  }
  std::shared_ptr<core::StreamSink> wait_sink() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return sink_ != nullptr; });
    return sink_;
  }
  void wait_acknowledged(uint64_t revocation) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return acknowledged_ == revocation; });
  }
  void wait_closed(unsigned times) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return closed_ == times; });
  }
  core::MutationDone wait_held() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !held_.empty(); });
    auto done = std::move(held_.back());
    held_.pop_back();
    return done;
  }
  std::vector<Extent> committed() {
    const std::lock_guard lock(mutex_);
    return committed_;
  }
  std::vector<Extent> committed_again() {
    const std::lock_guard lock(mutex_);
    return committed_again_;
  }
  CommitRequest request() {
    const std::lock_guard lock(mutex_);
    return request_;
  }
  static MutationReply reply() {
    MutationReply out;
    out.seq = Seq(9);
    out.nodes.push_back(a_node(99));
    return out;
  }

 private:
  Result<TenantId> check(const core::Credentials& who) override {
    if (who.session != kSession || who.secret != kSecret)
      return fail(Code::session_lost, "the router does not know this session; attach again");
    return TenantId(1);
  }
  void mutate(const core::Credentials& who, core::MutationDone done) {
    if (auto known = check(who); !known.ok()) return done(known.error());
    if (drop_mutations) return;
    if (!hold_mutations) return done(reply());
    const std::lock_guard lock(mutex_);
    held_.push_back(std::move(done));
    changed_.notify_all();
  }
  static std::vector<Extent> drain(const CommitRequest& request) {
    std::vector<Extent> out;
    Extent extent;
    while (true) {
      auto more = request.extents->next(&extent);
      if (!more.ok() || !*more) return out;
      out.push_back(extent);
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::shared_ptr<core::StreamSink> sink_;
  uint64_t acknowledged_ = 0;
  unsigned closed_ = 0;
  std::vector<core::MutationDone> held_;
  std::vector<core::LockDone> waiting_;
  std::vector<Extent> committed_, committed_again_;
  CommitRequest request_;
};

}  // namespace linkspan::rpc::testing
