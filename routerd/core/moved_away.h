// Which files a session moved away from their names a moment ago. A program that keeps a copy saves
// so: it moves the file to NAME~ and makes a new one of its name (vim, Emacs), or renames one to it
// (sed -i.bak, JetBrains' editors), which then goes on with the history
// (store::Mutation::continues). Kept by the router: who could say it could have any file's history.
//
// Threads: any. Bounded; what is forgotten begins a history of its own.
#pragma once

#include <chrono>
#include <deque>
#include <mutex>
#include <optional>
#include <string>

#include "routerd/core/clock.h"
#include "routerd/store/store.h"

namespace linkspan::core {

class MovedAway {
 public:
  using File = store::Mutation::MovedAway;
  void note(Ino dir, const std::string& name, const File& file, Boot now);
  std::optional<File> find(Ino dir, const std::string& name, Boot now);
  void forget(Ino dir, const std::string& name);

 private:
  static constexpr size_t kMost = 64;
  static constexpr std::chrono::seconds kMoment{60};
  struct Move {
    Ino dir;
    std::string name;
    File file;
    Boot at;
  };
  void forget_locked(Ino dir, const std::string& name);

  std::mutex mutex_;        // leaf
  std::deque<Move> moves_;  // the oldest first; a name once
};

}  // namespace linkspan::core
