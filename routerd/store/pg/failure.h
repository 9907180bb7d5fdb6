// What went wrong with a statement or a connection, and the one place that decides what follows
// from it: which domain error it is and whether the transaction may be run again. By SQLSTATE,
// never by text.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "linkspan/error.h"

namespace linkspan::store::pg {

// How the last use of a connection failed; `happened` is false as long as it did not.
struct Failure {
  bool happened = false;
  std::string sqlstate;    // five characters; empty: the server did not say anything
  std::string constraint;  // of a 23505
  std::string message;
  bool lost = false;            // the connection is of no more use
  bool timed_out = false;       // no answer in time
  bool commit_unknown = false;  // COMMIT was sent and not answered
};

// The domain error of a failure.
Error to_error(const Failure& failure);

enum class Verdict { give_up, retry, find_result };

// retry: the transaction did not happen, run it again. find_result: it may have happened, or this
// operation was applied before; look its result up first.
Verdict judge(const Failure& failure);

// Bounds of one call of the store and of its connections.
struct Limits {
  std::chrono::milliseconds connect{5000};     // to open one connection
  std::chrono::milliseconds answer{10000};     // for the server to answer one flush
  std::chrono::milliseconds statement{8000};   // statement_timeout at the server
  std::chrono::milliseconds lock{4000};        // lock_timeout at the server
  std::chrono::milliseconds idle{30000};       // idle_in_transaction_session_timeout
  std::chrono::milliseconds checkout{5000};    // to wait for a free connection
  std::chrono::milliseconds call{20000};       // after this no further attempt begins
  std::chrono::milliseconds migrate{600000};   // for all migrations
  int attempts = 10;                           // of one call
  std::chrono::milliseconds first_backoff{2};  // doubles
  std::chrono::milliseconds last_backoff{500};
};

// The attempts of one call: counts them, and waits between them.
class Attempts {
 public:
  explicit Attempts(const Limits& limits)
      : limits_(limits),
        end_(std::chrono::steady_clock::now() + limits.call),
        backoff_(limits.first_backoff) {}
  // False: enough. Otherwise blocks for the backoff.
  bool again();

 private:
  const Limits& limits_;
  std::chrono::steady_clock::time_point end_;
  std::chrono::milliseconds backoff_;
  int made_ = 1;
};

}  // namespace linkspan::store::pg
