#include "routerd/store/pg/connection.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace linkspan::store::pg {
namespace {

constexpr int kOldestServer = 150000;

struct ClearResult {
  void operator()(PGresult* result) const { PQclear(result); }
};
using OwnedResult = std::unique_ptr<PGresult, ClearResult>;

struct FreeOptions {
  void operator()(PQconninfoOption* options) const { PQconninfoFree(options); }
};
using Options = std::unique_ptr<PQconninfoOption, FreeOptions>;

Options parse(const std::string& conninfo) {
  char* why = nullptr;  // may quote a password: never shown
  Options options(PQconninfoParse(conninfo.c_str(), &why));
  PQfreemem(why);
  return options;
}

std::string field(const PGresult* result, int code) {
  const char* text = PQresultErrorField(result, code);
  return text == nullptr ? std::string() : std::string(text);
}

std::string milliseconds(std::chrono::milliseconds value) {
  return std::to_string(value.count());
}

// Settings of every session. Plans are made once and by index: tables grow after a plan was made.
std::string settings(const Limits& limits) {
  const std::pair<const char*, std::string> values[] = {
      {"search_path", "linkspan, pg_catalog"},
      {"statement_timeout", milliseconds(limits.statement)},
      {"lock_timeout", milliseconds(limits.lock)},
      {"idle_in_transaction_session_timeout", milliseconds(limits.idle)},
      {"default_transaction_isolation", "read committed"},
      {"client_min_messages", "warning"},
      {"plan_cache_mode", "force_generic_plan"},
      {"enable_seqscan", "off"},
      {"enable_bitmapscan", "off"},
      {"enable_hashjoin", "off"},
      {"enable_mergejoin", "off"},
      {"jit", "off"},
      // A client that went away ends its query (Linux servers; elsewhere only 0 is allowed).
      {"client_connection_check_interval", "1000"},
  };
  std::string sql = "SELECT ";
  for (const auto& [name, value] : values)
    sql += "set_config('" + std::string(name) + "', '" + value + "', false), ";
  return sql +
         "set_config('synchronous_commit', CASE current_setting('synchronous_commit') "
         "WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)";
}

Status check_version(int version) {
  if (version >= kOldestServer) return ok();
  return fail(Code::unsupported, "the server is PostgreSQL " + std::to_string(version / 10000) +
                                     "; Linkspan needs 15 or newer: upgrade it, or name another "
                                     "server in 'store'");
}

std::string mend(const Failure& why, const std::string& text) {
  const std::string& s = why.sqlstate;
  // A failed connect has no SQLSTATE in libpq; its texts are only used to choose the advice.
  const auto says = [&](const char* part) { return text.find(part) != std::string::npos; };
  if (s == "3D000" || (says("database \"") && says("does not exist")))
    return "create the database (createdb), or name another in 'store'";
  if (says("role \"") && says("does not exist"))
    return "make the role (createuser), or name another user in 'store'";
  if (says("too many clients") || says("connection slots"))
    return "raise max_connections there, or lower 'workers'";
  if (s == "28P01" || s == "28000" || says("authentication failed") || says("no password"))
    return "check the user and password in 'store' and the server's pg_hba.conf";
  if (says("starting up") || says("shutting down")) return "wait until the server is up";
  return "check that PostgreSQL 15 or newer runs there and that 'store' names it rightly";
}

}  // namespace

std::string describe(const std::string& conninfo) {
  const Options options = parse(conninfo);
  if (!options) return "(not readable as a connection string)";
  std::string out;
  for (const PQconninfoOption* o = options.get(); o->keyword != nullptr; ++o) {
    const std::string key = o->keyword;
    const bool shown = key == "host" || key == "hostaddr" || key == "port" || key == "dbname" ||
                       key == "user" || key == "service";
    if (!shown || o->val == nullptr) continue;
    out += (out.empty() ? "" : " ") + key + "=" + o->val;
  }
  return out.empty() ? "(libpq defaults)" : out;
}

Result<std::unique_ptr<Connection>> Connection::open(const std::string& conninfo,
                                                     const Limits& limits, Failure* why) {
  *why = {};
  if (!parse(conninfo)) {
    return fail(Code::invalid,
                "the store's address cannot be read; write it as "
                "postgres://USER@HOST:PORT/DATABASE or as a libpq connection string");
  }
  // Later keywords win; "dbname" first and expanded, so that the user's own settings come after.
  const char* const keys[] = {"keepalives_idle",
                              "keepalives_interval",
                              "keepalives_count",
                              "tcp_user_timeout",
                              "application_name",
                              "dbname",
                              nullptr};
  const std::string timeout = milliseconds(limits.answer);
  const char* const values[] = {
      "5", "2", "3", timeout.c_str(), "linkspan-routerd", conninfo.c_str(), nullptr};
  const auto deadline = Steady::now() + limits.connect;
  Handle handle(PQconnectStartParams(keys, values, 1));
  if (!handle) return fail(Code::internal, "out of memory");
  std::unique_ptr<Connection> made(new Connection(std::move(handle), limits));
  const Status status = made->handshake(deadline);
  if (status.ok()) return made;
  *why = made->failure_;
  const std::string text = status.error().message;
  if (!why->happened) return status.error();
  return fail(status.code(), "cannot use PostgreSQL at " + describe(conninfo) + ": " + text + "; " +
                                 mend(*why, text));
}

Status Connection::handshake(Steady::time_point deadline) {
  PostgresPollingStatusType wanted = PGRES_POLLING_WRITING;
  while (wanted != PGRES_POLLING_OK) {
    if (PQstatus(conn_.get()) == CONNECTION_BAD || wanted == PGRES_POLLING_FAILED) {
      lose(false, PQerrorMessage(conn_.get()));
      failure_.sqlstate.clear();
      return to_error(failure_);
    }
    if (wanted == PGRES_POLLING_WRITING || wanted == PGRES_POLLING_READING) {
      pollfd fd{PQsocket(conn_.get()),
                static_cast<short>(wanted == PGRES_POLLING_WRITING ? POLLOUT : POLLIN), 0};
      const auto left =
          std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Steady::now());
      if (left.count() <= 0) {
        lose(true, "no answer to the connection within " + milliseconds(limits_.connect) + " ms");
        return to_error(failure_);
      }
      if (poll(&fd, 1, static_cast<int>(left.count())) < 0 && errno != EINTR) {
        lose(false, std::strerror(errno));
        return to_error(failure_);
      }
    }
    wanted = PQconnectPoll(conn_.get());
  }
  return settle();
}

Status Connection::settle() {
  PQsetNoticeProcessor(
      conn_.get(), [](void*, const char*) {}, nullptr);
  LINKSPAN_CHECK(check_version(PQserverVersion(conn_.get())));
  if (PQsetnonblocking(conn_.get(), 1) != 0) {
    lose(false, PQerrorMessage(conn_.get()));
    return to_error(failure_);
  }
  LINKSPAN_CHECK(script(settings(limits_), limits_.connect));
  return ok();
}

void Connection::lose(bool timed_out, std::string message) {
  if (failure_.lost) return;
  failure_.happened = true;
  failure_.lost = true;
  failure_.timed_out = timed_out;
  failure_.commit_unknown = committing_;
  if (!message.empty() && failure_.message.empty()) failure_.message = std::move(message);
}

void Connection::record(const PGresult* result) {
  if (failure_.happened) return;  // the first one is the cause
  failure_.happened = true;
  failure_.sqlstate = field(result, PG_DIAG_SQLSTATE);
  failure_.constraint = field(result, PG_DIAG_CONSTRAINT_NAME);
  failure_.message = field(result, PG_DIAG_MESSAGE_PRIMARY);
  if (failure_.message.empty()) failure_.message = PQresultErrorMessage(result);
  const std::string severity = field(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  if (severity == "FATAL" || severity == "PANIC" || PQstatus(conn_.get()) == CONNECTION_BAD)
    lose(false, {});
}

bool Connection::wait(bool write_too, Steady::time_point deadline) {
  for (;;) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - Steady::now()).count();
    if (left <= 0) {
      lose(true, "no answer within " + milliseconds(limits_.answer) + " ms");
      return false;
    }
    pollfd fd{PQsocket(conn_.get()), static_cast<short>(POLLIN | (write_too ? POLLOUT : 0)), 0};
    const int ready = poll(&fd, 1, static_cast<int>(std::min<int64_t>(left, 1 << 20)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) {
      lose(false, std::strerror(errno));
      return false;
    }
  }
}

bool Connection::send_all(Steady::time_point deadline) {
  for (;;) {
    const int left = PQflush(conn_.get());
    if (left == 0) return true;
    if (left < 0 || (wait(true, deadline) && PQconsumeInput(conn_.get()) == 0)) {
      lose(false, PQerrorMessage(conn_.get()));
      return false;
    }
    if (lost()) return false;
  }
}

bool Connection::next(PGresult** out, Steady::time_point deadline) {
  while (PQisBusy(conn_.get()) != 0) {
    if (!send_all(deadline) || !wait(false, deadline)) return false;
    if (PQconsumeInput(conn_.get()) == 0) {
      lose(false, PQerrorMessage(conn_.get()));
      return false;
    }
  }
  *out = PQgetResult(conn_.get());
  return true;
}

void Connection::queue(const Statement& statement, const Params& params) {
  if (failure_.happened) return;
  const bool unprepared = prepared_.insert(&statement).second;
  if (unprepared) {
    if (PQsendPrepare(conn_.get(), statement.name, statement.sql, 0, nullptr) == 0)
      return lose(false, PQerrorMessage(conn_.get()));
    sent_.push_back({&statement, true});
  }
  params.fill(values_, lengths_);
  formats_.assign(values_.size(), 1);
  if (PQsendQueryPrepared(conn_.get(), statement.name, params.count(), values_.data(),
                          lengths_.data(), formats_.data(), 1) == 0)
    return lose(false, PQerrorMessage(conn_.get()));
  sent_.push_back({&statement, false});
  ++queued_;
}

bool Connection::take(PGresult* result, const Sent& sent, std::vector<Rows>& out) {
  const ExecStatusType status = PQresultStatus(result);
  if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
    if (sent.prepare) {
      PQclear(result);
    } else {
      out.emplace_back(result);
    }
    return true;
  }
  const OwnedResult owned(result);
  if (sent.prepare) prepared_.erase(sent.statement);
  if (status != PGRES_PIPELINE_ABORTED) record(result);
  return false;
}

// After an error the server ignores everything up to a Sync, which must have been sent.
bool Connection::drain_to_sync(Steady::time_point deadline) {
  int separators = 0;
  for (;;) {
    PGresult* result = nullptr;
    if (!next(&result, deadline)) return false;
    if (result == nullptr) {
      // Two in a row: nothing is under way, so the connection is broken.
      if (++separators > 1 && PQstatus(conn_.get()) == CONNECTION_BAD) {
        lose(false, PQerrorMessage(conn_.get()));
        return false;
      }
      if (separators > static_cast<int>(sent_.size()) + 2) {
        lose(false, "the connection lost step with the server");
        return false;
      }
      continue;
    }
    separators = 0;
    const OwnedResult owned(result);
    const ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_PIPELINE_SYNC) return true;
    if (status == PGRES_FATAL_ERROR) record(result);
    if (lost()) return false;
  }
}

Result<std::vector<Rows>> Connection::collect(bool to_sync) {
  if (failure_.happened) return to_error(failure_);
  std::vector<Rows> out;
  const auto deadline = Steady::now() + limits_.answer;
  const std::vector<Sent> sent = std::move(sent_);
  sent_.clear();
  queued_ = 0;
  unsynced_ = !to_sync;
  const int asked = to_sync ? PQpipelineSync(conn_.get()) : PQsendFlushRequest(conn_.get());
  if (asked == 0) lose(false, PQerrorMessage(conn_.get()));
  if (lost() || !send_all(deadline)) return to_error(failure_);
  size_t broken_at = sent.size();
  for (size_t i = 0; i < sent.size() && !lost(); ++i) {
    PGresult* result = nullptr;
    if (!next(&result, deadline)) break;
    if (result == nullptr) {
      lose(false, PQerrorMessage(conn_.get()));
      break;
    }
    if (!take(result, sent[i], out)) {
      broken_at = i;
      break;
    }
    PGresult* separator = nullptr;
    if (!next(&separator, deadline)) break;
    if (separator != nullptr) {
      const OwnedResult owned(separator);
      record(separator);
      lose(false, "the connection lost step with the server");
    }
  }
  for (size_t i = broken_at; i < sent.size(); ++i)
    if (sent[i].prepare) prepared_.erase(sent[i].statement);
  if (lost()) return to_error(failure_);
  if (failure_.happened && !to_sync && PQpipelineSync(conn_.get()) == 0)
    lose(false, PQerrorMessage(conn_.get()));
  if (to_sync || failure_.happened) unsynced_ = !drain_to_sync(deadline);
  if (failure_.happened) return to_error(failure_);
  return out;
}

Result<std::vector<Rows>> Connection::flush() {
  return collect(false);
}
Result<std::vector<Rows>> Connection::sync() {
  auto out = collect(true);
  if (!failure_.happened) committing_ = false;
  return out;
}

Result<Rows> Connection::run(const Statement& statement, const Params& params) {
  queue(statement, params);
  LINKSPAN_TRY(std::vector<Rows> rows, sync());
  return std::move(rows.back());
}

void Connection::rollback() {
  static constexpr Statement kRollback{"rollback", "ROLLBACK"};
  if (lost()) return;
  const Failure before = std::exchange(failure_, {});
  committing_ = false;
  if (!at_rest()) {
    queue(kRollback);
    if (!sync().ok() && !lost()) lose(false, "ROLLBACK failed");
  }
  if (!before.happened) return;
  const bool now_lost = failure_.lost;
  failure_ = before;
  failure_.lost = failure_.lost || now_lost;
}

Status Connection::script(const std::string& sql, std::chrono::milliseconds bound) {
  const auto deadline = Steady::now() + bound;
  if (PQpipelineStatus(conn_.get()) != PQ_PIPELINE_OFF && PQexitPipelineMode(conn_.get()) == 0)
    lose(false, PQerrorMessage(conn_.get()));
  if (!lost() && PQsendQuery(conn_.get(), sql.c_str()) == 0)
    lose(false, PQerrorMessage(conn_.get()));
  if (!lost()) send_all(deadline);
  while (!lost()) {
    PGresult* result = nullptr;
    if (!next(&result, deadline) || result == nullptr) break;
    const OwnedResult owned(result);
    if (PQresultStatus(result) == PGRES_FATAL_ERROR) record(result);
  }
  if (!lost() && PQenterPipelineMode(conn_.get()) == 0) lose(false, PQerrorMessage(conn_.get()));
  if (failure_.happened) return to_error(failure_);
  return ok();
}

bool Connection::idle_and_alive() {
  if (lost()) return false;
  pollfd fd{PQsocket(conn_.get()), POLLIN, 0};
  if (poll(&fd, 1, 0) == 0) return true;
  // A notice or a changed parameter is fine; an end is not.
  if (PQconsumeInput(conn_.get()) == 0) return false;
  if (PQstatus(conn_.get()) == CONNECTION_BAD) return false;
  return poll(&fd, 1, 0) == 0;
}

}  // namespace linkspan::store::pg
