// The routers of one database that a mount was told of: which is asked next, and what came of
// asking each since one served us. Private to this folder.
//
// Threads: one at a time, the stream thread's (and, once that has ended, whoever attached).
#pragma once

#include <string>
#include <vector>

#include "linkspan/error.h"

namespace linkspan::client {

class Addresses {
 public:
  explicit Addresses(const std::string& list);  // separated by commas; at least one

  // That of the last try, or of the first to come.
  const std::string& current() const { return addresses_[current_]; }
  bool several() const { return addresses_.size() > 1; }
  // The last try failed: the next one's turn.
  void next();
  // In a round each is asked once, one right after the other; a wait comes only before a new one.
  bool round_begins() const { return in_a_row_ == 0; }
  // The last try succeeded.
  void succeeded() { in_a_row_ = 0; }

  // What came of asking the current one. `answered`: by a router, which does not serve us.
  void note(const Error& error, bool answered);
  void forget_said();  // one serves us
  // What people are told while no router serves us.
  std::string said() const;
  bool any_answered() const;

 private:
  struct Said {
    std::string text;
    bool answered = false;
  };
  const std::vector<std::string> addresses_;
  std::vector<Said> said_;  // as addresses_
  size_t current_ = 0;
  size_t in_a_row_ = 0;  // tries that failed, each at another address
};

}  // namespace linkspan::client
