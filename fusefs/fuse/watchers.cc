#include "fusefs/fuse/watchers.h"

#include <signal.h>
#include <time.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "fusefs/fuse/log.h"

namespace linkspan::fuse {
namespace {

template <class T>
void append(std::vector<T>* to, std::vector<T> from) {
  to->insert(to->end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

// That this thread has used.
std::chrono::nanoseconds cpu_time() {
  timespec time = {};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

bool is_empty(const Watchers::Note& note) {
  return !note.everything && note.names.empty() && note.nodes.empty();
}

void add(Watchers::Note* to, Watchers::Note from) {
  to->everything = to->everything || from.everything;
  append(&to->names, std::move(from.names));
  append(&to->nodes, std::move(from.nodes));
  if (to->names.size() + to->nodes.size() <= kPendingChanges) return;
  *to = Watchers::Note{.everything = true};
}

// The first that is known of how a name was counts; so does any change of content.
void tidy(Watchers::Note* note) {
  std::map<std::pair<Ino, std::string>, NameChange> names;
  for (auto& name : note->names) names.try_emplace({name.dir, name.name}, name);
  note->names.clear();
  for (auto& [key, name] : names) note->names.push_back(std::move(name));
  std::map<Ino, NodeChange> nodes;
  for (const auto& node : note->nodes) {
    NodeChange& one = nodes.try_emplace(node.ino, node).first->second;
    one.content = one.content || node.content;
    one.listing = one.listing || node.listing;
    one.seq = std::min(one.seq, node.seq);
    one.tries = std::min(one.tries, node.tries);
  }
  note->nodes.clear();
  for (const auto& [ino, node] : nodes) note->nodes.push_back(node);
}

}  // namespace

Watchers::~Watchers() {
  stop();
  join();
}

void Watchers::add_route(const std::string& mountpoint, vfs::Observer* observer, OwnCalls* own,
                         Notifier* notifier) {
  if (!observer) return;
  routes_.push_back(std::make_unique<Route>(Route{
      {mountpoint, mounted_device(mountpoint), own, notifier}, observer, WatchedRoute(observer)}));
}

void Watchers::start(std::function<uint64_t()> used) {
  used_ = std::move(used);
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);  // a signal is for other threads
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  running_ = true;
}

void Watchers::stop() {
  running_ = false;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  cancel_.cancel();
  wake_.notify_all();
}

void Watchers::join() {
  if (thread_.joinable()) thread_.join();
}

// ---- what comes in ----

Watchers::Note Watchers::note(const Revocation& revocation) const {
  Note note;
  if (!running_) return note;
  note.everything = revocation.everything;
  for (const RevokedName& name : revocation.names) {
    NameChange change{name.parent, name.name, std::nullopt, 0};
    for (const auto& route : routes_)
      if (!change.before) change.before = route->observer->known_name(name.parent, name.name);
    note.names.push_back(std::move(change));
  }
  for (const RevokedNode& node : revocation.nodes)
    note.nodes.push_back({node.ino, node.content, node.listing, revocation.seq, 0});
  return note;
}

void Watchers::changed(Note note) {
  if (!running_ || is_empty(note)) return;
  {
    const std::lock_guard lock(mutex_);
    add(&pending_note_, std::move(note));
    pending_ = true;
  }
  wake_.notify_all();
}

void Watchers::caches_lost() {
  changed(Note{.everything = true});
}

Watchers::Stats Watchers::stats() const {
  return {watched_, scans_, nudges_, failed_};
}

// ---- the thread ----

Watchers::Clock::time_point Watchers::next_scan(bool revoked) const {
  Clock::duration pause = revoked ? kScanWhenRevoked : kScanWhenIdle;
  if (!revoked && used_() != used_then_) pause = kScanWhenUsed;
  return scanned_ +
         std::max<Clock::duration>(pause, scan_cost_ * (revoked ? kScanShareRevoked : kScanShare));
}

// False: stop() was called. Returns when there is something to tell, or to look for.
bool Watchers::wait(Note* note) {
  std::unique_lock lock(mutex_);
  while (!stopping_ && !pending_) {
    const bool again = !is_empty(again_);
    const bool revoked = !is_empty(unmatched_);
    lock.unlock();
    auto until = next_scan(revoked);
    lock.lock();
    if (again) until = std::min(until, again_at_);
    // How much the mount is used is nobody's news: look at that once a second.
    const auto now = Clock::now();
    if (until <= now) break;
    wake_.wait_until(lock, std::min<Clock::time_point>(until, now + kScanWhenUsed),
                     [this] { return stopping_ || pending_; });
  }
  if (pending_) wake_.wait_for(lock, kGather, [this] { return stopping_; });
  pending_ = false;
  *note = std::exchange(pending_note_, {});
  return !stopping_;
}

void Watchers::scan(bool changing) {
  std::vector<dev_t> devices;
  for (const auto& route : routes_) devices.push_back(route->place.device);
  used_then_ = used_();
  const auto begun = cpu_time();
  Marks marks = scan_marks(devices);
  scanned_ = Clock::now();
  scan_cost_ = cpu_time() - begun;
  ++scans_;
  uint64_t watched = 0;
  for (const auto& route : routes_) {
    route->watched.set_marks(caller(), marks[route->place.device], changing);
    watched += route->watched.size();
  }
  watched_ = watched;
}

void Watchers::run() {
  for (const auto& route : routes_) route->place.own->begin();
  for (Note note; wait(&note);) {
    if (!is_empty(again_) && Clock::now() >= again_at_) add(&note, std::exchange(again_, {}));
    const bool revoked = !is_empty(note) || !is_empty(unmatched_);
    if (Clock::now() >= next_scan(revoked)) {
      scan(revoked);
      add(&note, std::exchange(unmatched_, {}));
      tell(std::move(note));
      unmatched_ = {};  // nobody watches it
      for (const auto& route : routes_) route->watched.settled();
    } else {
      tell(std::move(note));
    }
  }
  for (const auto& route : routes_) route->place.own->end();
}

void Watchers::tell(Note note) {
  if (is_empty(note)) return;
  tidy(&note);
  for (const auto& name : note.names)
    if (std::none_of(routes_.begin(), routes_.end(),
                     [&](const auto& route) { return route->watched.concerns(name); }))
      unmatched_.names.push_back(name);
  for (const auto& node : note.nodes)
    if (std::none_of(routes_.begin(), routes_.end(),
                     [&](const auto& route) { return route->watched.concerns(node); }))
      unmatched_.nodes.push_back(node);
  add(&unmatched_, {});  // bounds it
  Unfinished again;
  for (const auto& route : routes_)
    if (!route->watched.empty()) tell_route(*route, note, &again);
  try_again(std::move(again));
}

void Watchers::tell_route(Route& route, const Note& note, Unfinished* again) {
  std::vector<NameChange> names;
  std::vector<NodeChange> nodes;
  for (const auto& name : note.names)
    if (route.watched.concerns(name)) names.push_back(name);
  for (const auto& node : note.nodes)
    if (route.watched.concerns(node)) nodes.push_back(node);
  if (names.empty() && nodes.empty() && !note.everything) return;
  // The kernel will ask for its attributes, and what the caches do not know is not waited for then.
  const Ino root = route.place.notifier->from_kernel(1);
  (void)route.observer->node(caller(), root).ok();
  auto visit = Visit::begin(route.place,
                            [&](Ino dir) { return route.watched.path_of(caller(), dir, root); });
  if (!visit.ok() && visit.code() == Code::busy) {
    append(&again->names, std::move(names));
    append(&again->nodes, std::move(nodes));
    if (note.everything) compare_again();
    return;
  }
  if (!visit.ok()) {
    ++failed_;
    log(LogLevel::warning, "programs that watch are not told of changes: " + visit.error().message);
    return;
  }
  Told told = route.watched.tell(caller(), names, nodes, **visit, again);
  if (note.everything) {
    if (route.watched.tell_all(caller(), **visit, &told))
      compares_ = 0;
    else
      compare_again();
  }
  nudges_ += told.raised;
  failed_ += told.failed;
}

void Watchers::compare_again() {
  if (++compares_ > kNudgeTries) return;  // too large, or gone: until the next change
  again_.everything = true;
  again_at_ = Clock::now() + kCompareAgain;
}

void Watchers::try_again(Unfinished again) {
  const auto given_up = [this](auto& change) {
    if (++change.tries <= kNudgeTries) return false;
    ++failed_;
    return true;
  };
  std::erase_if(again.names, given_up);
  std::erase_if(again.nodes, given_up);
  if (again.names.empty() && again.nodes.empty()) return;
  if (is_empty(again_)) again_at_ = Clock::now() + kNudgeAgain;
  add(&again_, {std::move(again.names), std::move(again.nodes), false});
}

}  // namespace linkspan::fuse
