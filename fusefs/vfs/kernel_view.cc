#include "fusefs/vfs/kernel_view.h"

#include <algorithm>
#include <memory>

namespace linkspan::vfs {

KernelView::KernelView(KernelCache* kernel, ReplyGate* gate, bool names_wait)
    : kernel_(kernel), gate_(gate), names_wait_(names_wait) {
  if (kernel_) thread_ = std::thread([this] { run(); });
}

KernelView::~KernelView() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void KernelView::pages_are(Ino ino, Version version) {
  std::lock_guard lock(pages_mutex_);
  pages_.put(ino, version);
}

bool KernelView::pages_of(Ino ino, Version version) {
  std::lock_guard lock(pages_mutex_);
  const Version* has = pages_.find(ino);
  return has && *has == version;
}

void KernelView::pages_got(Ino ino, Version version) {
  std::lock_guard lock(pages_mutex_);
  const Version* has = pages_.find(ino);
  if (has && *has != version) pages_.erase(ino);
}

void KernelView::pages_become(Ino ino, Version before, Version after) {
  sizes_.untell(ino);
  std::lock_guard lock(pages_mutex_);
  const Version* has = pages_.find(ino);
  if (has && (*has == before || *has == after))
    pages_.put(ino, after);
  else
    pages_.erase(ino);
}

void KernelView::is_own(Ino ino, Version version) {
  std::lock_guard lock(pages_mutex_);
  own_.put(ino, version);
}

bool KernelView::own(Ino ino, Version version) {
  std::lock_guard lock(pages_mutex_);
  const Version* made = own_.find(ino);
  return made != nullptr && *made == version;
}

void KernelView::pages_are_unknown(Ino ino) {
  std::lock_guard lock(pages_mutex_);
  pages_.erase(ino);
}

void KernelView::drop_content(Ino ino) {
  {
    std::lock_guard lock(pages_mutex_);
    pages_.erase(ino);
  }
  notify({ino}, &KernelCache::drop_content);
}

void KernelView::drop_attributes(Ino ino) {
  notify({ino}, &KernelCache::drop_attributes);
}

// What was asked before the end of it may be ignored: the gate's count tells.
void KernelView::notify(const std::vector<Ino>& inos, void (KernelCache::*drop)(Ino)) {
  if (!kernel_ || inos.empty()) return;
  for (const Ino ino : inos) sizes_.notice_begins(ino);
  for (const Ino ino : inos) (kernel_->*drop)(ino);
  gate_->advance();
  const uint64_t now = gate_->now();
  for (const Ino ino : inos) sizes_.notice_ended(ino, now);
}

void KernelView::drop_revoked(const std::vector<Ino>& attributes, std::vector<Ino> contents,
                              const std::function<bool()>& lease) {
  if (kernel_)
    for (const Ino ino : attributes) kernel_->drop_attributes(ino);
  drop_contents(std::move(contents), lease);
}

void KernelView::drop_names(std::vector<RevokedName> names, const std::function<bool()>& lease) {
  if (!kernel_ || names.empty()) return;
  if (!names_wait_) return kernel_->drop_names(names);
  elsewhere([this, names = std::move(names)] { kernel_->drop_names(names); }, lease);
}

KernelView::Reading::Reading(KernelView* view, Ino ino) : view_(view), ino_(ino) {
  std::lock_guard lock(view_->pages_mutex_);
  view_->reading_.insert(ino_);
}

KernelView::Reading::~Reading() {
  std::lock_guard lock(view_->pages_mutex_);
  view_->reading_.erase(view_->reading_.find(ino_));
}

namespace {

struct Dropping {
  std::mutex mutex;  // leaf
  std::condition_variable changed;
  bool done = false;
};

}  // namespace

void KernelView::drop_contents(std::vector<Ino> inos, const std::function<bool()>& lease) {
  {
    std::lock_guard lock(pages_mutex_);
    for (const Ino ino : inos) pages_.erase(ino);
    std::stable_partition(inos.begin(), inos.end(),
                          [this](Ino ino) { return reading_.count(ino) == 0; });
  }
  if (!kernel_ || inos.empty()) return;
  const auto drop = [this, inos = std::move(inos)] {
    for (const Ino ino : inos) kernel_->drop_content(ino);
  };
  elsewhere(drop, lease);
}

void KernelView::elsewhere(std::function<void()> notice, const std::function<bool()>& lease) {
  const auto dropping = std::make_shared<Dropping>();
  enqueue([dropping, notice = std::move(notice)] {
    notice();
    {
      std::lock_guard lock(dropping->mutex);
      dropping->done = true;
    }
    dropping->changed.notify_all();
  });
  std::unique_lock lock(dropping->mutex);
  while (!dropping->changed.wait_for(lock, kDropWait, [&] { return dropping->done; }))
    if (!lease()) return;
}

void KernelView::drop_all(const cache::Evicted& known, const std::function<bool(Ino)>& dirty,
                          const std::function<bool()>& lease) {
  std::set<Ino> nodes(known.nodes.begin(), known.nodes.end());
  {
    std::lock_guard lock(pages_mutex_);
    pages_.for_each([&](const Ino& ino, const Version&) { nodes.insert(ino); });
  }
  if (!kernel_) return;
  std::vector<RevokedName> names;
  names.reserve(known.names.size());
  for (const cache::Name& name : known.names) names.push_back({name.parent, name.name});
  drop_names(std::move(names), lease);
  std::vector<Ino> contents;
  for (const Ino ino : nodes) {
    kernel_->drop_attributes(ino);
    if (!dirty(ino)) contents.push_back(ino);
  }
  drop_contents(std::move(contents), lease);
}

void KernelView::drop_content_later(Ino ino) {
  later([this, ino] { drop_content(ino); });
}

// What our caches forgot, the kernel shall forget, too: when the lease is lost, nobody would know
// what to tell it. Names need it only where each is dropped by itself.
void KernelView::evicted(cache::Evicted evicted, bool read_only) {
  if (!kernel_ || (evicted.nodes.empty() && evicted.names.empty())) return;
  const bool names = read_only && !kernel_->can_drop_names();
  later([this, names, evicted = std::move(evicted)] {
    notify(evicted.nodes, &KernelCache::drop_attributes);
    if (!names) return;
    std::vector<RevokedName> list;
    for (const cache::Name& name : evicted.names) list.push_back({name.parent, name.name});
    kernel_->drop_names(list);
  });
}

void KernelView::later(std::function<void()> notice) {
  if (!kernel_) return;
  bool full = false;
  {
    std::lock_guard lock(mutex_);
    full = notices_.size() >= kNotices;
  }
  if (full) return notice();
  enqueue(std::move(notice));
}

void KernelView::enqueue(std::function<void()> notice) {
  {
    std::lock_guard lock(mutex_);
    notices_.push_back(std::move(notice));
  }
  wake_.notify_one();
}

void KernelView::run() {
  std::unique_lock lock(mutex_);
  for (;;) {
    wake_.wait(lock, [this] { return stopping_ || !notices_.empty(); });
    if (stopping_) return;
    auto notice = std::move(notices_.front());
    notices_.pop_front();
    lock.unlock();
    notice();
    lock.lock();
  }
}

}  // namespace linkspan::vfs
