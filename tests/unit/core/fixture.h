// A router over the memory store, with mounts that are scripted by the test.
#pragma once

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "forward_store.h"
#include "routerd/core/grant.h"
#include "routerd/core/router.h"
#include "tests/support/slowdown.h"

namespace linkspan::core::testing {

using namespace std::chrono_literals;

inline constexpr auto kPatience = 20s * test::kSlowdown;  // after this a test gives up on an event

class FakeClock final : public RouterClock {
 public:
  Time now() const override { return Time{1'700'000'000'000'000'000 + ns_.load() + set_.load()}; }
  Boot boot() const override { return Boot(std::chrono::nanoseconds(ns_.load())); }
  void advance(std::chrono::milliseconds by) {
    ns_ += std::chrono::duration_cast<std::chrono::nanoseconds>(by).count();
  }
  // The wall clock only, as somebody sets it.
  void set_ahead(std::chrono::hours by) { set_ = std::chrono::nanoseconds(by).count(); }

 private:
  std::atomic<int64_t> ns_{1'000'000'000}, set_{0};
};

struct Frame {
  enum Kind { welcome, renewed, revoke, end } kind;
  bool resumed = false;
  uint64_t nonce = 0;
  Revocation revocation;
  Code code = Code::internal;
  std::chrono::milliseconds lease{};
};

// Keeps what the router sends; the test waits for it.
class ScriptedSink final : public StreamSink {
 public:
  void welcome(std::chrono::milliseconds lease, bool resumed) override {
    put({Frame::welcome, resumed, 0, {}, {}, lease});
  }
  void renewed(uint64_t nonce, std::chrono::milliseconds lease) override {
    put({Frame::renewed, false, nonce, {}, {}, lease});
  }
  void revoke(const Revocation& revocation) override {
    put({Frame::revoke, false, 0, revocation, {}, {}});
  }
  void end(const Error& why) override { put({Frame::end, false, 0, {}, why.code, {}}); }

  // The next frame; fails the test if none comes.
  Frame next() {
    std::unique_lock lock(mutex_);
    if (!arrived_.wait_for(lock, kPatience, [this] { return !frames_.empty(); })) {
      ADD_FAILURE() << "no frame came";
      return {Frame::end, false, 0, {}, Code::timed_out, {}};
    }
    Frame frame = frames_.front();
    frames_.pop_front();
    return frame;
  }
  bool empty() const {
    const std::lock_guard lock(mutex_);
    return frames_.empty();
  }

 private:
  void put(Frame frame) {
    {
      const std::lock_guard lock(mutex_);
      frames_.push_back(std::move(frame));
    }
    arrived_.notify_all();
  }
  mutable std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Frame> frames_;
};

using Outcome = Result<MutationReply>;

// A mutation under way.
class Pending {
 public:
  Pending() : future_(promise_->get_future().share()) {}
  MutationDone done() {
    return [promise = promise_](Outcome outcome) { promise->set_value(std::move(outcome)); };
  }
  bool answered() const { return future_.wait_for(0s) == std::future_status::ready; }
  Outcome get() const {
    if (future_.wait_for(kPatience) != std::future_status::ready) {
      ADD_FAILURE() << "no answer came";
      return fail(Code::timed_out);
    }
    return future_.get();
  }

 private:
  std::shared_ptr<std::promise<Outcome>> promise_ = std::make_shared<std::promise<Outcome>>();
  std::shared_future<Outcome> future_;
};

inline std::shared_ptr<ExtentSource> bytes(const std::string& data, uint64_t offset = 0) {
  std::vector<Extent> extents;
  if (!data.empty()) extents.push_back({offset, data.size(), data});
  return std::make_shared<ExtentList>(std::move(extents));
}

// One mount: credentials and an operation counter.
class Mount {
 public:
  Mount(Router* to, AttachReply reply)
      : router(to), attached(std::move(reply)), who{attached.session, attached.secret} {}

  Ino root(const std::string& path = "memory") const {
    for (const Route& route : attached.routes)
      if (route.path == path) return route.root;
    ADD_FAILURE() << "no route " << path;
    return {};
  }
  std::shared_ptr<ScriptedSink> stream(uint64_t last = 0) {
    auto sink = std::make_shared<ScriptedSink>();
    EXPECT_TRUE(router->open_stream(who, last, sink).ok());
    return sink;
  }
  OpHeader op() { return {OpNumber{++operations}, OpNumber{1}, false}; }

  Pending start_create(Ino parent, const std::string& name, Kind kind = Kind::file) {
    CreateRequest request;
    request.op = op();
    request.parent = parent;
    request.name = name;
    request.kind = kind;
    request.mode = 0644;
    return start(request);
  }
  Pending start_remove(Ino parent, const std::string& name, bool directory = false) {
    return start(RemoveRequest{op(), parent, name, directory});
  }
  Pending start_rename(Ino from, const std::string& from_name, Ino to, const std::string& to_name,
                       Ino base_ino = {}, Version base = {}) {
    RenameRequest request;
    request.op = op();
    request.from_parent = from;
    request.from_name = from_name;
    request.to_parent = to;
    request.to_name = to_name;
    request.base_ino = base_ino;
    request.base_version = base;
    return start(request);
  }
  CommitRequest rewrite(Ino ino, const std::string& content, std::optional<Version> base = {}) {
    CommitRequest request;
    request.op = op();
    request.ino = ino;
    request.base = base;
    request.keep_below = 0;
    request.size = content.size();
    request.extents = bytes(content);
    return request;
  }
  Pending start_write(Ino ino, const std::string& content, std::optional<Version> base = {}) {
    return start(rewrite(ino, content, base));
  }

  Pending start(CreateRequest request) {
    Pending p;
    router->create(who, std::move(request), p.done());
    return p;
  }
  Pending start(RemoveRequest request) {
    Pending p;
    router->remove(who, std::move(request), p.done());
    return p;
  }
  Pending start(RenameRequest request) {
    Pending p;
    router->rename(who, std::move(request), p.done());
    return p;
  }
  Pending start(LinkRequest request) {
    Pending p;
    router->link(who, std::move(request), p.done());
    return p;
  }
  Pending start(SetAttrRequest request) {
    Pending p;
    router->set_attributes(who, std::move(request), p.done());
    return p;
  }
  Pending start(CommitRequest request) {
    Pending p;
    router->commit(who, std::move(request), p.done());
    return p;
  }
  Pending start(SetXattrRequest request) {
    Pending p;
    router->set_xattr(who, std::move(request), p.done());
    return p;
  }

  Ino create(Ino parent, const std::string& name, Kind kind = Kind::file) {
    const Outcome made = start_create(parent, name, kind).get();
    EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().message);
    return made.ok() ? made->nodes.front().attr.ino : Ino{};
  }
  LookupReply look(Ino parent, const std::string& name) {
    const auto found = router->lookup(who, {parent, name, true});
    EXPECT_TRUE(found.ok()) << (found.ok() ? "" : found.error().message);
    return found.ok() ? *found : LookupReply{};
  }
  std::string content(Ino ino) {
    const auto read = router->read(who, {ino, {}, 0, limits::kReadBytes});
    EXPECT_TRUE(read.ok()) << (read.ok() ? "" : read.error().message);
    return read.ok() ? read->data : "";
  }
  void ack(uint64_t number) { router->acknowledge(who.session, number); }
  void renew(uint64_t nonce = 1) { router->renew(who.session, OpNumber{1}, nonce); }

  Router* router;
  AttachReply attached;
  Credentials who;
  std::atomic<uint64_t> operations = 0;  // a mount's threads share it: a number twice is a retry
};

class CoreTest : public ::testing::Test {
 protected:
  static constexpr auto kLease = 200ms;
  static constexpr auto kGrace = 2000ms;

  void SetUp() override {
    memory_ = store::make_mem_store();
    provision({{"memory"}, {"skills"}, {"sessions"}});
    add_token("agent-token", {});
    start_router();
  }
  void TearDown() override {
    // Nobody acknowledges any more: let what still waits run into its lease.
    std::atomic<bool> stopped{false};
    std::thread stopping([&] {
      router_.reset();
      stopped = true;
    });
    while (!stopped) {
      clock_.advance(kLease);
      std::this_thread::sleep_for(1ms);
    }
    stopping.join();
  }

  void provision(std::vector<store::VolumeSpec> volumes) {
    ASSERT_TRUE(memory_->provision({"acme", std::move(volumes)}, clock_.now()).ok());
  }
  store::TokenRecord token_record(const std::string& text) {
    store::TokenRecord token;
    token.hash = store::hash_token(text);
    token.tenant = "acme";
    token.principal = "agent";
    token.routes = {route("memory", true, Policy::merge), route("skills", false, Policy::reject),
                    route("sessions", true, Policy::merge)};
    return token;
  }
  static Route route(const std::string& name, bool writable, Policy policy) {
    Route route;
    route.path = route.volume = name;
    if (writable) route.rights = Access::read_write;
    route.policy = policy;
    return route;
  }
  void add_token(const std::string& text, const std::function<void(store::TokenRecord&)>& change) {
    auto token = token_record(text);
    if (change) change(token);
    ASSERT_TRUE(memory_->put_token(token).ok());
  }
  // The store outlives the router, as a database does.
  void start_router() {
    auto forward = std::make_unique<ForwardStore>(memory_.get());
    store_ = forward.get();
    RouterOptions options;
    options.lease = kLease;
    options.session_grace = kGrace;
    options.clock = &clock_;
    options.name = "test";
    options.interests_per_session = interests_per_session_;
    options.sole = sole_;
    router_ = make_router(std::move(forward), options);
  }
  Result<AttachReply> attach(const AttachRequest& request) { return router_->attach(request); }
  Mount mount(const std::string& token = "agent-token") {
    AttachRequest request;
    request.token = token;
    auto attached = router_->attach(request);
    EXPECT_TRUE(attached.ok()) << (attached.ok() ? "" : attached.error().message);
    return Mount(router_.get(), attached.ok() ? *attached : AttachReply{});
  }
  static AttachRequest to_resume(const Mount& mount, uint64_t last_revocation = 0) {
    AttachRequest request;
    request.token = "agent-token";
    request.resume = mount.who.session;
    request.resume_secret = mount.who.secret;
    request.resume_revocation = last_revocation;
    return request;
  }
  Result<AttachReply> resume(const Mount& mount, uint64_t last_revocation) {
    return router_->attach(to_resume(mount, last_revocation));
  }

  FakeClock clock_;
  size_t interests_per_session_ = limits::kInterestsPerSession;
  bool sole_ = true;  // or leases would follow a clock that jumps only as the upkeep does
  std::unique_ptr<store::Store> memory_;
  ForwardStore* store_ = nullptr;  // of router_
  std::unique_ptr<Router> router_;
};

}  // namespace linkspan::core::testing
