// Many mounts at once, each with caches that follow the protocol to the letter. Whatever a mutation
// that has returned made must be seen by every call that starts afterwards, on any mount.
#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "fixture.h"

namespace linkspan::core::testing {
namespace {

constexpr int kMounts = 4;
constexpr int kWorkers = 2;  // per mount
constexpr int kSteps = 400;  // per worker
constexpr int kSharedFiles = 4;
constexpr auto kShortLease = 150ms * test::kSlowdown;

// A mount's caches: attributes by node, and names. See ops.h for the rules.
class CachingMount final : public StreamSink {
 private:
  template <class F>
  auto with_lock(F&& f) {
    const std::lock_guard lock(mutex_);
    return f();
  }

 public:
  CachingMount(Router* router, AttachReply attached)
      : mount_(router, std::move(attached)), lease_until_(RouterClock::system().boot()) {}
  ~CachingMount() override { stop(); }

  void start(std::shared_ptr<StreamSink> self) {
    const auto sent = RouterClock::system().boot();
    ASSERT_TRUE(mount_.router->open_stream(mount_.who, 0, std::move(self)).ok());
    with_lock([&] { opened_ = sent; });
    stream_ = std::thread([this] { serve(); });
  }
  void stop() {
    with_lock([&] { stopping_ = true; });
    arrived_.notify_all();
    if (stream_.joinable()) stream_.join();
  }
  // As a paused machine: neither acknowledges nor renews until the lease is gone.
  void sleep_through_a_lease() {
    with_lock([&] { asleep_until_ = RouterClock::system().boot() + 2 * kShortLease; });
  }

  Version version_of(Ino ino) {
    if (const auto cached = with_lock([&] { return cached_version(ino); })) return *cached;
    const uint64_t generation = with_lock([&] { return generation_; });
    const auto reply = mount_.router->getattr(mount_.who, {ino});
    EXPECT_TRUE(reply.ok()) << reply.error().message;
    if (!reply.ok()) return {};
    with_lock([&] { learn(reply->node.attr, reply->as_of, generation); });
    return reply->node.attr.version;
  }
  // 0: no such name.
  Ino resolve(Ino dir, const std::string& name) {
    if (const auto cached = with_lock([&] { return cached_name({dir, name}); })) return *cached;
    const uint64_t generation = with_lock([&] { return generation_; });
    const auto reply = mount_.router->lookup(mount_.who, {dir, name});
    EXPECT_TRUE(reply.ok()) << reply.error().message;
    if (!reply.ok()) return {};
    const Ino ino = reply->node ? reply->node->attr.ino : Ino{};
    with_lock([&] {
      if (reply->node) learn(reply->node->attr, reply->as_of, generation);
      if (may_cache(name_fences_[{dir, name}], reply->as_of, generation)) names_[{dir, name}] = ino;
    });
    return ino;
  }

  // The caller waits for the answer, as a system call does. Sometimes the operation is sent twice.
  template <class Request>
  Outcome mutate(Request request, const std::vector<std::pair<Ino, std::string>>& names,
                 bool twice) {
    const uint64_t generation = with_lock([&] {
      request.op = mount_.op();
      return generation_;
    });
    const Pending first = mount_.start(request);
    if (twice) {
      request.op.retry = true;
      const Outcome again = mount_.start(request).get();
      if (again.ok() && first.get().ok()) {
        EXPECT_EQ(again->seq, first.get()->seq);
      }
    }
    const Outcome outcome = first.get();
    if (outcome.ok()) with_lock([&] { learn_own(*outcome, names, generation); });
    return outcome;
  }

  Mount& mount() { return mount_; }
  int losses() {
    return with_lock([&] { return losses_; });
  }
  int hits() {
    return with_lock([&] { return hits_; });
  }

 private:
  using Name = std::pair<Ino, std::string>;

  // -- the stream ---------------------------------------------------------------------------------
  void put(Frame frame) {
    with_lock([&] { frames_.push_back(std::move(frame)); });
    arrived_.notify_all();
  }
  void welcome(std::chrono::milliseconds granted, bool resumed) override {
    put({Frame::welcome, resumed, 0, {}, {}, granted});
  }
  void renewed(uint64_t nonce, std::chrono::milliseconds granted) override {
    put({Frame::renewed, false, nonce, {}, {}, granted});
  }
  void revoke(const Revocation& r) override { put({Frame::revoke, false, 0, r, {}}); }
  void end(const Error& why) override { put({Frame::end, false, 0, {}, why.code}); }

  void serve() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      const auto now = RouterClock::system().boot();
      if (now < asleep_until_) {
        arrived_.wait_until(lock, asleep_until_, [this] { return stopping_; });
        continue;
      }
      if (now >= next_renewal_) {
        next_renewal_ = now + kShortLease / 5;
        const uint64_t nonce = ++nonce_;
        sent_[nonce] = now;
        lock.unlock();
        mount_.router->renew(mount_.who.session, OpNumber{1}, nonce);
        lock.lock();
        continue;
      }
      if (frames_.empty()) {
        arrived_.wait_until(lock, next_renewal_);
        continue;
      }
      const Frame frame = std::move(frames_.front());
      frames_.pop_front();
      process(frame);
      if (frame.kind != Frame::revoke) continue;
      lock.unlock();
      mount_.ack(frame.revocation.number);
      lock.lock();
    }
  }
  void process(const Frame& frame) {
    if (frame.kind == Frame::welcome && !frame.resumed) drop_everything();
    // What is granted can be less than was asked for.
    if (frame.kind == Frame::welcome) lease_until_ = opened_ + frame.lease;
    if (frame.kind == Frame::renewed) lease_until_ = sent_[frame.nonce] + frame.lease;
    EXPECT_NE(frame.kind, Frame::end);
    if (frame.kind != Frame::revoke) return;
    const Revocation& r = frame.revocation;
    EXPECT_TRUE(r.everything || r.number == last_revocation_ + 1 || losses_ > 0);
    last_revocation_ = r.number;
    if (r.everything) drop_everything();
    for (const RevokedNode& node : r.nodes) fence_node(node.ino, r.seq);
    for (const RevokedName& name : r.names) fence_name({name.parent, name.name}, r.seq);
  }

  // -- the caches, all with mutex_ held
  // -------------------------------------------------------------
  bool leased() const { return RouterClock::system().boot() < lease_until_; }
  std::optional<Version> cached_version(Ino ino) {
    const auto at = nodes_.find(ino);
    // The lease is looked at last: what was read before it was still good then.
    if (at == nodes_.end() || !leased()) return std::nullopt;
    ++hits_;
    return at->second.version;
  }
  std::optional<Ino> cached_name(const Name& name) {
    const auto at = names_.find(name);
    if (at == names_.end() || !leased()) return std::nullopt;
    ++hits_;
    return at->second;
  }
  bool may_cache(Seq fence, Seq as_of, uint64_t generation) const {
    return generation == generation_ && as_of && fence <= as_of;
  }
  // That the node has changed at attr.seq is news, even if the reply must not be cached.
  void learn(const Attr& attr, Seq as_of, uint64_t generation) {
    const bool fresh = may_cache(node_fences_[attr.ino], as_of, generation);
    fence_node(attr.ino, attr.seq);
    if (fresh) nodes_[attr.ino] = attr;
  }
  void fence_node(Ino ino, Seq seq) {
    nodes_.erase(ino);
    node_fences_[ino] = std::max(node_fences_[ino], seq);
  }
  void fence_name(const Name& name, Seq seq) {
    names_.erase(name);
    name_fences_[name] = std::max(name_fences_[name], seq);
  }
  void learn_own(const MutationReply& reply, const std::vector<Name>& names, uint64_t generation) {
    for (const Node& node : reply.nodes) {
      const bool fresh = may_cache(node_fences_[node.attr.ino], reply.as_of, generation);
      fence_node(node.attr.ino, reply.seq);
      if (fresh) nodes_[node.attr.ino] = node.attr;
    }
    for (const Name& name : names) fence_name(name, reply.seq);
  }
  void drop_everything() {
    nodes_.clear();
    names_.clear();
    ++generation_;
    ++losses_;
  }

  Mount mount_;
  std::mutex mutex_;
  std::condition_variable arrived_;
  std::deque<Frame> frames_;
  std::map<Ino, Attr> nodes_;
  std::map<Name, Ino> names_;
  std::map<Ino, Seq> node_fences_;
  std::map<Name, Seq> name_fences_;
  uint64_t generation_ = 0, nonce_ = 0, last_revocation_ = 0;
  int losses_ = 0, hits_ = 0;
  std::map<uint64_t, Boot> sent_;
  Boot lease_until_, opened_{}, next_renewal_{}, asleep_until_{};
  bool stopping_ = false;
  std::thread stream_;
};

void raise(std::atomic<uint64_t>& to, uint64_t value) {
  uint64_t seen = to.load();
  while (seen < value && !to.compare_exchange_weak(seen, value)) {
  }
}

class StressTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    auto memory = store::make_mem_store();
    ASSERT_TRUE(memory->provision({"acme", {{"memory"}}}, RouterClock::system().now()).ok());
    store::TokenRecord token;
    token.hash = store::hash_token("t");
    token.tenant = "acme";
    token.principal = "agent";
    Route route;
    route.path = route.volume = "memory";
    route.rights = Access::read_write;
    token.routes = {route};
    ASSERT_TRUE(memory->put_token(token).ok());
    RouterOptions options;
    options.lease = kShortLease;
    router_ = make_router(std::move(memory), options);
    for (int i = 0; i < kMounts; ++i) add_mount();
    for (int i = 0; i < kSharedFiles; ++i) {
      files_[static_cast<size_t>(i)] = mounts_[0]->mount().create(root_, "f" + std::to_string(i));
    }
    log_ = mounts_[0]->mount().create(root_, "log");
    for (const auto& mount : mounts_) mount->start(mount);
  }
  void add_mount() {
    AttachRequest request;
    request.token = "t";
    const auto attached = router_->attach(request);
    ASSERT_TRUE(attached.ok());
    mounts_.push_back(std::make_shared<CachingMount>(router_.get(), *attached));
    root_ = mounts_.back()->mount().root();
  }
  void TearDown() override {
    router_->stop();
    for (const auto& mount : mounts_) mount->stop();
    router_.reset();
  }

  void write(CachingMount& m, std::mt19937& random) {
    const size_t i = random() % kSharedFiles;
    CommitRequest request = m.mount().rewrite(files_[i], "text");
    const Outcome outcome = m.mutate(request, {}, random() % 4 == 0);
    ASSERT_TRUE(outcome.ok()) << outcome.error().message;
    raise(versions_[i], outcome->version.value);
  }
  void stat(CachingMount& m, std::mt19937& random) {
    const size_t i = random() % kSharedFiles;
    const uint64_t expected = versions_[i].load();
    EXPECT_GE(m.version_of(files_[i]).value, expected) << "a stale stat";
  }
  void append(CachingMount& m, std::mt19937& random, int worker) {
    const std::string line = std::to_string(worker) + "." + std::to_string(random()) + "\n";
    CommitRequest request = m.mount().rewrite(log_, "");
    request.append = true;
    request.extents = bytes(line);
    // A source belongs to one call; a retry is another call.
    const Outcome outcome = m.mutate(request, {}, false);
    ASSERT_TRUE(outcome.ok()) << outcome.error().message;
    const std::lock_guard lock(lines_mutex_);
    lines_.insert(line);
  }
  // A name that one worker makes and removes; odd: it is there.
  void toggle(CachingMount& m, size_t worker, bool twice) {
    const std::string name = "t" + std::to_string(worker);
    const uint64_t now = ++begun_[worker];
    Outcome outcome = fail(Code::internal);
    if (now % 2 == 1) {
      CreateRequest request;
      request.parent = root_;
      request.name = name;
      request.mode = 0644;
      outcome = m.mutate(request, {{root_, name}}, twice);
    } else {
      outcome = m.mutate(RemoveRequest{{}, root_, name, false}, {{root_, name}}, twice);
    }
    ASSERT_TRUE(outcome.ok()) << outcome.error().message;
    ++finished_[worker];
  }
  void look(CachingMount& m, std::mt19937& random) {
    const size_t of = random() % begun_.size();
    const uint64_t before = finished_[of].load();
    if (begun_[of].load() != before) return;
    const Ino found = m.resolve(root_, "t" + std::to_string(of));
    if (begun_[of].load() != before) return;
    EXPECT_EQ(static_cast<bool>(found), before % 2 == 1) << "a stale name";
  }
  void save(CachingMount& m, std::mt19937& random, size_t worker) {
    const std::string temp = "tmp" + std::to_string(worker);
    CreateRequest create;
    create.parent = root_;
    create.name = temp;
    ASSERT_TRUE(m.mutate(create, {{root_, temp}}, false).ok());
    RenameRequest rename;
    rename.from_parent = rename.to_parent = root_;
    rename.from_name = temp;
    rename.to_name = "saved";
    const Outcome outcome = m.mutate(rename, {{root_, temp}, {root_, "saved"}}, random() % 4 == 0);
    ASSERT_TRUE(outcome.ok()) << outcome.error().message;
    raise(saved_, outcome->version.value);
  }
  void stat_saved(CachingMount& m) {
    const uint64_t expected = saved_.load();
    const Ino ino = m.resolve(root_, "saved");
    if (expected == 0) return;
    ASSERT_TRUE(ino) << "a stale name";
    EXPECT_GE(m.version_of(ino).value, expected) << "a stale save";
  }
  void work(CachingMount& m, size_t worker, bool with_losses) {
    std::mt19937 random(static_cast<uint32_t>(worker) + 1);
    for (int step = 0; step < kSteps && !::testing::Test::HasFatalFailure(); ++step) {
      switch (random() % 16) {
        case 0:
          write(m, random);
          break;
        case 1:
          append(m, random, static_cast<int>(worker));
          break;
        case 2:
          toggle(m, worker, random() % 4 == 0);
          break;
        case 3:
          save(m, random, worker);
          break;
        case 4:
        case 5:
        case 6:
          stat_saved(m);
          break;
        case 7:
        case 8:
        case 9:
        case 10:
          look(m, random);
          break;
        case 11:
          if (with_losses && worker % kWorkers == 0 && step % 100 == 50) m.sleep_through_a_lease();
          break;
        default:
          stat(m, random);
          break;
      }
    }
  }

  std::unique_ptr<Router> router_;
  std::vector<std::shared_ptr<CachingMount>> mounts_;
  Ino root_, log_;
  std::array<Ino, kSharedFiles> files_;
  std::array<std::atomic<uint64_t>, kSharedFiles> versions_{};
  std::array<std::atomic<uint64_t>, kMounts * kWorkers> begun_{}, finished_{};
  std::atomic<uint64_t> saved_{0};
  std::mutex lines_mutex_;
  std::multiset<std::string> lines_;
};

TEST_P(StressTest, NothingStaleNothingLostNothingTwice) {
  std::vector<std::thread> threads;
  for (size_t worker = 0; worker < kMounts * kWorkers; ++worker)
    threads.emplace_back([this, worker] { work(*mounts_[worker / kWorkers], worker, GetParam()); });
  for (auto& thread : threads) thread.join();

  std::multiset<std::string> in_file;
  const std::string text = mounts_[0]->mount().content(log_);
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at) + 1;
    in_file.insert(text.substr(at, end - at));
    at = end;
  }
  EXPECT_EQ(in_file, lines_);
  EXPECT_FALSE(lines_.empty());
  int hits = 0, losses = 0;
  for (const auto& mount : mounts_) {
    hits += mount->hits();
    losses += mount->losses();
  }
  EXPECT_GT(hits, 100) << "the caches were of no use";
  RecordProperty("hits", hits);
  RecordProperty("losses", losses);
}

INSTANTIATE_TEST_SUITE_P(WithAndWithoutLosses, StressTest, ::testing::Bool());

}  // namespace
}  // namespace linkspan::core::testing
