// Mounts of tokens with rights and path rules.
#pragma once

#include "fixture.h"
#include "routerd/core/rules.h"

namespace linkspan::core::testing {

inline constexpr Code kDone{};  // no error has it

inline PolicyPattern with_access(const std::string& glob, Access access) {
  PolicyPattern pattern{glob};
  pattern.access = access;
  return pattern;
}

// Mounts that acknowledge whatever they hear: nobody waits for them.
class Acknowledger {
 public:
  explicit Acknowledger(Router* router) : router_(router), thread_([this] { run(); }) {}
  void stop() {
    put({});
    thread_.join();
  }
  void listen(const Credentials& who) {
    EXPECT_TRUE(router_->open_stream(who, 0, std::make_shared<Sink>(this, who.session)).ok());
  }

 private:
  struct Heard {
    SessionId session;
    uint64_t number = 0;
  };
  class Sink final : public StreamSink {
   public:
    Sink(Acknowledger* to, SessionId session) : to_(to), session_(session) {}
    void welcome(std::chrono::milliseconds, bool) override {}
    void renewed(uint64_t, std::chrono::milliseconds) override {}
    void revoke(const Revocation& revocation) override { to_->put({session_, revocation.number}); }
    void end(const Error&) override {}

   private:
    Acknowledger* const to_;
    const SessionId session_;
  };
  void put(Heard heard) {
    {
      const std::lock_guard lock(mutex_);
      heard_.push_back(heard);
    }
    changed_.notify_one();
  }
  void run() {
    for (;;) {
      std::unique_lock lock(mutex_);
      changed_.wait(lock, [this] { return !heard_.empty(); });
      const Heard heard = heard_.front();
      heard_.pop_front();
      lock.unlock();
      if (!heard.session) return;
      router_->acknowledge(heard.session, heard.number);
    }
  }
  Router* const router_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Heard> heard_;
  std::thread thread_;
};

struct Scene {
  Mount& m;
  Ino dir, ino;  // with "old" ("abc", the node `ino`), "other" ("xyz"), an empty directory "sub"
};

struct Row {
  const char* what;
  std::function<Outcome(Scene&)> call;
  Access needs;
};

class RulesTest : public CoreTest {
 protected:
  Mount mount(const std::string& token = "agent-token") {
    AttachRequest request;
    request.token = token;
    const auto attached = router_->attach(request);
    EXPECT_TRUE(attached.ok()) << (attached.ok() ? "" : attached.error().message);
    if (attached.ok()) acknowledger_->listen({attached->session, attached->secret});
    return Mount(router_.get(), attached.ok() ? *attached : AttachReply{});
  }
  void TearDown() override {
    acknowledger_->stop();
    CoreTest::TearDown();  // the router still tells the sinks
    acknowledger_.reset();
  }
  void SetUp() override {
    CoreTest::SetUp();
    acknowledger_.emplace(router_.get());
  }
  static constexpr Access kAll[] = {Access::none, Access::read_only, Access::append_only,
                                    Access::no_delete, Access::read_write};
  Mount ruled(std::vector<PolicyPattern> patterns, Access rights = Access::read_write) {
    const std::string name = "ruled" + std::to_string(++tokens_);
    add_token(name, [&](auto& t) {
      t.routes = {route("memory", true, Policy::merge)};
      t.routes[0].rights = rights;
      t.routes[0].patterns = std::move(patterns);
    });
    return mount(name);
  }
  Ino file(Mount& by, Ino dir, const std::string& name, const std::string& content = "abc") {
    const Ino ino = by.create(dir, name);
    EXPECT_TRUE(by.start_write(ino, content).get().ok());
    return ino;
  }
  static Code code(const Outcome& outcome) { return outcome.ok() ? kDone : outcome.code(); }
  static CommitRequest at_offset(Mount& m, Ino ino, const std::string& data, uint64_t offset) {
    CommitRequest request;
    request.op = m.op();
    request.ino = ino;
    request.size = offset + data.size();
    request.extents = bytes(data, offset);
    return request;
  }
  static CommitRequest appended(Mount& m, Ino ino, const std::string& data) {
    CommitRequest request;
    request.op = m.op();
    request.ino = ino;
    request.append = true;
    request.extents = bytes(data);
    return request;
  }
  static SetAttrRequest attributes(Mount& m, Ino ino) {
    SetAttrRequest request;
    request.op = m.op();
    request.ino = ino;
    return request;
  }
  // In a place of its own, with that access by the route's rights or by a pattern.
  void try_row(const Row& row, Access access, bool by_path) {
    SCOPED_TRACE(std::string(row.what) + " with " + std::string(to_string(access)) +
                 (by_path ? " by a pattern" : " by rights"));
    Mount all = mount();
    const std::string place = "place" + std::to_string(++places_);
    const Ino dir = all.create(all.root(), place, Kind::directory);
    const Ino ino = file(all, dir, "old");
    file(all, dir, "other", "xyz");
    all.create(dir, "sub", Kind::directory);
    const SetXattrRequest set{all.op(), ino, "user.a", "0", false, false};
    ASSERT_TRUE(all.start(set).get().ok());
    Mount m = by_path ? ruled({with_access(place + "/**", access)}) : ruled({}, access);
    Scene scene{m, dir, ino};
    const Outcome outcome = row.call(scene);
    Code expected = Code::not_permitted;
    if (access <= Access::read_only) expected = by_path ? Code::access_denied : Code::read_only;
    if (access >= row.needs) expected = kDone;
    EXPECT_EQ(code(outcome), expected) << (outcome.ok() ? "" : outcome.error().message);
    if (!outcome.ok()) {
      EXPECT_EQ(all.content(ino), "abc");
      EXPECT_TRUE(all.look(dir, "old").node);
      EXPECT_TRUE(all.look(dir, "sub").node);
      EXPECT_FALSE(all.look(dir, "new").node);
    }
    ASSERT_TRUE(router_->detach(m.who).ok());
    ASSERT_TRUE(router_->detach(all.who).ok());
  }
  int tokens_ = 0, places_ = 0;
  std::optional<Acknowledger> acknowledger_;
};

}  // namespace linkspan::core::testing
