#include "fusefs/fuse/interrupts.h"

#include <signal.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>
#include <string>

namespace linkspan::fuse {
namespace {

constexpr uint64_t bit(int signal) {
  return 1ull << (signal - 1);
}

// Signals whose default action neither ends nor dumps a process.
constexpr uint64_t kHarmlessByDefault = bit(SIGCHLD) | bit(SIGCONT) | bit(SIGURG) | bit(SIGWINCH) |
                                        bit(SIGSTOP) | bit(SIGTSTP) | bit(SIGTTIN) | bit(SIGTTOU);

struct SignalSets {
  uint64_t pending = 0, blocked = 0, ignored = 0, caught = 0;
  bool dead = false;
};

bool read_signal_sets(int32_t tid, SignalSets* sets) {
  std::ifstream status("/proc/" + std::to_string(tid) + "/status");
  if (!status) return false;
  for (std::string line; std::getline(status, line);) {
    auto mask = [&line] { return std::stoull(line.substr(line.find(':') + 1), nullptr, 16); };
    if (line.rfind("SigPnd:", 0) == 0 || line.rfind("ShdPnd:", 0) == 0)
      sets->pending |= mask();
    else if (line.rfind("SigBlk:", 0) == 0)
      sets->blocked = mask();
    else if (line.rfind("SigIgn:", 0) == 0)
      sets->ignored = mask();
    else if (line.rfind("SigCgt:", 0) == 0)
      sets->caught = mask();
    else if (line.rfind("State:", 0) == 0)
      sets->dead = line.find_first_of("ZX") != line.npos;
  }
  return true;
}

bool fatal(const SignalSets& sets) {
  if (sets.dead || (sets.pending & bit(SIGKILL))) return true;  // the kernel marks a dying group so
  return sets.pending & ~(sets.blocked | sets.ignored | sets.caught | kHarmlessByDefault);
}

}  // namespace

CallerState caller_state(int32_t tid) {
  if (tid <= 0) return CallerState::unknown;
  SignalSets sets;
  if (!read_signal_sets(tid, &sets))  // gone, or hidden from us (proc mounted with hidepid)
    return kill(tid, 0) != 0 && errno == ESRCH ? CallerState::dying : CallerState::unknown;
  return fatal(sets) ? CallerState::dying : CallerState::alive;
}

InterruptWatch::InterruptWatch(Probe probe) : probe_(std::move(probe)) {}

InterruptWatch::~InterruptWatch() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void InterruptWatch::on_interrupt(int32_t tid, const std::shared_ptr<client::CancelToken>& token) {
  Watched watched{tid, token, std::chrono::steady_clock::now()};
  if (settle(watched)) return;
  {
    std::lock_guard lock(mutex_);
    if (stopping_) return;
    watched_.push_back(std::move(watched));
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
  }
  changed_.notify_all();
}

bool InterruptWatch::settle(const Watched& watched) const {
  auto token = watched.token.lock();
  if (!token) return true;
  CallerState state = probe_(watched.tid);
  bool waited = std::chrono::steady_clock::now() - watched.since >= kUnknownGrace;
  if (state == CallerState::alive || (state == CallerState::unknown && !waited)) return false;
  token->cancel();
  return true;
}

void InterruptWatch::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (watched_.empty()) {
      changed_.wait(lock, [this] { return stopping_ || !watched_.empty(); });
      continue;
    }
    std::vector<Watched> round;
    round.swap(watched_);
    lock.unlock();
    std::erase_if(round, [this](const Watched& w) { return settle(w); });
    lock.lock();
    std::move(round.begin(), round.end(), std::back_inserter(watched_));
    if (!watched_.empty()) changed_.wait_for(lock, kPoll, [this] { return stopping_; });
  }
}

}  // namespace linkspan::fuse
