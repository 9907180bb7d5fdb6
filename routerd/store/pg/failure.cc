#include "routerd/store/pg/failure.h"

#include <algorithm>
#include <thread>

namespace linkspan::store::pg {
namespace {

bool in_class(const std::string& sqlstate, std::string_view prefix) {
  return std::string_view(sqlstate).substr(0, prefix.size()) == prefix;
}

bool going_away(const std::string& s) {
  return in_class(s, "08") || s == "57P01" || s == "57P02" || s == "57P03";
}

Code code_of(const Failure& f) {
  const std::string& s = f.sqlstate;
  if (f.timed_out || s == "57014" || s == "55P03") return Code::timed_out;
  if (s == "25P03" || s == "25006" || s == "53300" || going_away(s)) return Code::unavailable;
  if (s == "40001" || s == "40P01") return Code::busy;
  if (s == "53100") return Code::no_space;
  if (in_class(s, "53")) return Code::busy;
  if (in_class(s, "58") || in_class(s, "XX")) return Code::io;
  if (f.lost) return Code::unavailable;
  return Code::internal;
}

// For whoever set the store up: at a first start these are what goes wrong. (Where no connection
// comes about: connection.cc.)
std::string_view mend_of(const std::string& sqlstate) {
  if (sqlstate == "42P07" || sqlstate == "42710")
    return "; its schema linkspan was not made by linkspan-routerd: name another database, or, if "
           "nothing of it is needed, DROP SCHEMA linkspan CASCADE";
  return {};
}

}  // namespace

Error to_error(const Failure& f) {
  std::string text = "PostgreSQL: " + (f.message.empty() ? "no answer" : f.message);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  if (!f.sqlstate.empty()) text += " (SQLSTATE " + f.sqlstate + ")";
  text += mend_of(f.sqlstate);
  return fail(code_of(f), std::move(text));
}

Verdict judge(const Failure& f) {
  if (!f.happened) return Verdict::give_up;
  // The result, or the change, is there already: this operation's first try was applied.
  if (f.sqlstate == "23505" &&
      (f.constraint == "result_pkey" || f.constraint == "change_pkey" ||
       f.constraint == "conflict_pkey" || f.constraint == "conflict_operation"))
    return Verdict::find_result;
  if (f.commit_unknown) return Verdict::find_result;
  if (f.sqlstate == "40001" || f.sqlstate == "40P01") return Verdict::retry;
  if (f.timed_out) return Verdict::give_up;  // the whole bound was spent on it
  if (f.lost || going_away(f.sqlstate)) return Verdict::retry;
  return Verdict::give_up;
}

bool Attempts::again() {
  if (made_ >= limits_.attempts || std::chrono::steady_clock::now() + backoff_ >= end_)
    return false;
  std::this_thread::sleep_for(backoff_);
  backoff_ = std::min(backoff_ * 2, limits_.last_backoff);
  ++made_;
  return true;
}

}  // namespace linkspan::store::pg
