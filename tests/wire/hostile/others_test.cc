// What is another's: his session, his operation numbers, his name, his nodes.
#include <gmock/gmock.h>

#include <functional>

#include "tests/wire/hostile/hostile.h"

namespace linkspan::hostile {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string kLookup = "/linkspan.v1.Fs/Lookup";

class OthersTest : public ::testing::Test {
 protected:
  std::string lookup(uint64_t parent) {
    v1::LookupRequest request;
    request.set_parent(parent);
    request.set_name("honest");
    return request.SerializeAsString();
  }
  Router router_{300ms * test::kSlowdown};  // whoever writes waits so long for who has no stream
};

// ---- sessions ----

TEST_F(OthersTest, AnothersSessionIsOfNoUse) {
  Honest honest(router_, "lsp_a");  // of the attacker's own tenant
  Client attacker(router_);
  const SessionId mine(attacker.attached.session()), his(honest.client().attached.session());
  const std::string secret = attacker.attached.secret();
  const struct {
    const char* what;
    std::string credential;
    Code expected;
  } rows[] = {
      {"none", {}, Code::session_lost},
      {"too short", std::string(23, 'x'), Code::session_lost},
      {"too long", std::string(25, 'x'), Code::session_lost},
      {"of nobody", wire::encode_credential({SessionId(7), secret}), Code::session_lost},
      {"session 0", wire::encode_credential({SessionId(0), secret}), Code::session_lost},
      {"his session, my secret", wire::encode_credential({his, secret}), Code::unauthenticated},
      {"his session, a guess", wire::encode_credential({his, std::string(16, '\0')}),
       Code::unauthenticated},
      {"mine", wire::encode_credential({mine, secret}), kDone},
  };
  // Of every kind of call.
  const struct {
    const char* method;
    std::string request;
  } calls[] = {{"/linkspan.v1.Fs/Lookup", lookup(attacker.root())},
               {"/linkspan.v1.Session/Stream", {}},
               {"/linkspan.v1.Fs/Commit", {}},
               {"/linkspan.v1.Session/Narrow", {}}};
  for (const auto& row : rows) {
    attacker.credential = row.credential;
    for (const auto& call : calls) {
      if (row.expected == kDone && call.request.empty()) continue;
      EXPECT_EQ(attacker.call(call.method, {call.request}).code(), row.expected)
          << call.method << ": " << row.what;
    }
    if (row.expected == kDone) continue;
    EXPECT_EQ(attacker.call("/linkspan.v1.Session/Detach", {""}).code(), row.expected)
        << "detach: " << row.what;
  }
  honest.notices_nothing();
}

TEST_F(OthersTest, AnothersSessionIsNotResumed) {
  Honest honest(router_, "lsp_a");
  Client attacker(router_);
  v1::AttachRequest request;
  request.set_token("lsp_a_memory");  // another principal, who knows the secret even
  request.set_resume_session(honest.client().attached.session());
  for (const std::string& secret : {std::string(16, 's'), honest.client().attached.secret()}) {
    request.set_resume_secret(secret);
    Context context;
    v1::AttachReply reply;
    ASSERT_TRUE(attacker.session().Attach(&context, request, &reply).ok());
    EXPECT_NE(reply.session(), honest.client().attached.session());
    EXPECT_FALSE(reply.resumed());
    EXPECT_EQ(reply.principal(), "a_memory");
  }
  honest.notices_nothing();
}

// ---- operation numbers and authors ----

TEST_F(OthersTest, AnothersOperationNumbersAreNotTold) {
  Client victim(router_, "lsp_a"), attacker(router_, "lsp_a_memory");
  v1::CreateRequest request;
  request.mutable_op()->set_number(1);
  request.set_parent(victim.root());
  request.set_name("his");
  request.set_kind(v1::KIND_FILE);
  const auto his = victim.call<v1::MutationReply>(&v1::Fs::Stub::Create, request);
  ASSERT_TRUE(his.ok()) << his.error().message;
  request.mutable_op()->set_retry(true);
  request.set_name("mine");
  const auto mine = attacker.call<v1::MutationReply>(&v1::Fs::Stub::Create, request);
  ASSERT_TRUE(mine.ok()) << mine.error().message;
  EXPECT_NE(mine->nodes(0).attr().ino(), his->nodes(0).attr().ino());
  // Nor is one's own done twice, whatever it says now.
  request.set_name("again");
  const auto again = attacker.call<v1::MutationReply>(&v1::Fs::Stub::Create, request);
  ASSERT_TRUE(again.ok()) << again.error().message;
  EXPECT_EQ(again->nodes(0).attr().ino(), mine->nodes(0).attr().ino());
  EXPECT_EQ(again->seq(), mine->seq());
}

TEST_F(OthersTest, WhoWroteIsWhoHasTheToken) {
  Client victim(router_, "lsp_a");
  Client attacker(router_, "lsp_a_memory");
  v1::AttachRequest request;
  request.set_token("lsp_a_memory");
  request.set_client("linkspan of a in sandbox-a");  // as if he were the other
  request.set_resume_session(victim.attached.session());
  request.set_resume_secret(victim.attached.secret());
  Context context;
  ASSERT_TRUE(attacker.session().Attach(&context, request, &attacker.attached).ok());
  attacker.credential =
      wire::encode_credential({SessionId(attacker.attached.session()), attacker.attached.secret()});
  const auto made = attacker.create(attacker.root(), "forged");
  ASSERT_TRUE(made.ok()) << made.error().message;
  v1::ChangesRequest changes;
  changes.set_limit(10);
  const auto log = victim.call<v1::ChangesReply>(&v1::Fs::Stub::Changes, changes);
  ASSERT_TRUE(log.ok()) << log.error().message;
  ASSERT_EQ(log->changes_size(), 1);
  EXPECT_EQ(log->changes(0).principal(), "a_memory");
  EXPECT_EQ(log->changes(0).sandbox(), "sandbox-a_memory");
  EXPECT_EQ(log->changes(0).session(), attacker.attached.session());
}

// ---- nodes ----

v1::OpHeader op(Client& client) {
  v1::OpHeader out;
  out.set_number(client.next());
  return out;
}

v1::Lock lock_of(uint64_t ino) {
  v1::Lock lock;
  lock.set_ino(ino);
  lock.set_kind(1);
  lock.set_type(2);
  lock.set_end(1);
  return lock;
}

// Every call that names a node, with `ino` as the one it names.
struct Naming {
  const char* method;
  std::function<std::string(Client&, uint64_t ino)> request;
  Code expected = Code::stale_node;
};

template <class Request>
std::string filled(const std::function<void(Request&)>& fill) {
  Request request;
  fill(request);
  return request.SerializeAsString();
}

const std::vector<Naming>& namings() {
  static const std::vector<Naming> all = {
      {"Lookup",
       [](Client&, uint64_t ino) {
         return filled<v1::LookupRequest>([&](auto& m) { m.set_parent(ino), m.set_name("x"); });
       }},
      {"GetAttr",
       [](Client&, uint64_t ino) {
         return filled<v1::GetAttrRequest>([&](auto& m) { m.set_ino(ino); });
       }},
      {"ReadDir",
       [](Client&, uint64_t ino) {
         return filled<v1::ReadDirRequest>([&](auto& m) { m.set_dir(ino), m.set_limit(9); });
       }},
      {"Prefetch",
       [](Client&, uint64_t ino) {
         return filled<v1::PrefetchRequest>(
             [&](auto& m) { m.set_dir(ino), m.set_max_bytes(9), m.set_max_nodes(9); });
       }},
      {"Read",
       [](Client&, uint64_t ino) {
         return filled<v1::ReadRequest>([&](auto& m) { m.set_ino(ino), m.set_length(9); });
       }},
      {"Read",  // of a version
       [](Client&, uint64_t ino) {
         return filled<v1::ReadRequest>(
             [&](auto& m) { m.set_ino(ino), m.set_length(9), m.set_version(1); });
       }},
      {"DataRanges",
       [](Client&, uint64_t ino) {
         return filled<v1::DataRangesRequest>([&](auto& m) { m.set_ino(ino); });
       }},
      {"GetXattrs",
       [](Client&, uint64_t ino) {
         return filled<v1::XattrsRequest>([&](auto& m) { m.set_ino(ino); });
       }},
      {"StatFs",
       [](Client&, uint64_t ino) {
         return filled<v1::StatFsRequest>([&](auto& m) { m.set_ino(ino); });
       }},
      {"Versions",
       [](Client&, uint64_t ino) {
         return filled<v1::VersionsRequest>([&](auto& m) { m.set_ino(ino), m.set_limit(9); });
       }},
      {"Create",
       [](Client& client, uint64_t ino) {
         return filled<v1::CreateRequest>([&](auto& m) {
           *m.mutable_op() = op(client);
           m.set_parent(ino), m.set_name("x"), m.set_kind(v1::KIND_FILE);
         });
       }},
      {"Remove",
       [](Client& client, uint64_t ino) {
         return filled<v1::RemoveRequest>([&](auto& m) {
           *m.mutable_op() = op(client);
           m.set_parent(ino), m.set_name("x");
         });
       }},
      {"Rename",  // from there
       [](Client& client, uint64_t ino) {
         return filled<v1::RenameRequest>([&](auto& m) {
           *m.mutable_op() = op(client);
           m.set_from_parent(ino), m.set_from_name("x");
           m.set_to_parent(client.root()), m.set_to_name("y");
         });
       }},
      {"Rename",  // to there
       [](Client& client, uint64_t ino) {
         return filled<v1::RenameRequest>([&](auto& m) {
           *m.mutable_op() = op(client);
           m.set_from_parent(client.root()), m.set_from_name("own");
           m.set_to_parent(ino), m.set_to_name("y");
         });
       }},
      {"Link",
       [](Client& client, uint64_t ino) {
         return filled<v1::LinkRequest>([&](auto& m) {
           *m.mutable_op() = op(client);
           m.set_ino(ino), m.set_parent(client.root()), m.set_name("y");
         });
       }},
      {"SetAttr",
       [](Client& client, uint64_t ino) {
         return filled<v1::SetAttrRequest>([&](auto& m) {
           *m.mutable_op() = op(client);
           m.set_ino(ino), m.set_mode(0777);
         });
       }},
      {"SetXattr",
       [](Client& client, uint64_t ino) {
         return filled<v1::SetXattrRequest>([&](auto& m) {
           *m.mutable_op() = op(client);
           m.set_ino(ino), m.set_name("user.x"), m.set_value("x");
         });
       }},
      {"Commit",
       [](Client& client, uint64_t ino) {
         return filled<v1::CommitPart>([&](auto& m) {
           *m.mutable_head()->mutable_op() = op(client);
           m.mutable_head()->set_ino(ino);
         });
       }},
      {"SetLock",
       [](Client& client, uint64_t ino) {
         return filled<v1::SetLockRequest>(
             [&](auto& m) { m.set_number(client.next()), *m.mutable_lock() = lock_of(ino); });
       }},
      {"TestLock",
       [](Client&, uint64_t ino) {
         return filled<v1::TestLockRequest>([&](auto& m) { *m.mutable_lock() = lock_of(ino); });
       }},
      {"Settle",  // there is none of that number here, though there is one there
       [](Client& client, uint64_t) {
         return filled<v1::SettleRequest>(
             [&](auto& m) { *m.mutable_op() = op(client), m.set_number(1); });
       },
       Code::not_found},
  };
  return all;
}

std::string without(std::string text, uint64_t ino) {
  const std::string number = std::to_string(ino);
  for (size_t at; (at = text.find(number)) != std::string::npos;)
    text.replace(at, number.size(), "N");
  return text;
}

// Is there, but not for him: it is as if it were not, word for word.
TEST_F(OthersTest, AnothersNodesAreNotThere) {
  Client other(router_, "lsp_b"), all(router_, "lsp_a"), attacker(router_, "lsp_a_memory");
  ASSERT_TRUE(attacker.create(attacker.root(), "own").ok());
  uint64_t his = 0;
  for (int i = 0; i < 20; ++i)  // numbers are each tenant's own
    his = other.create(other.root(), "file-" + std::to_string(i))->nodes(0).attr().ino();
  ASSERT_TRUE(other.write(his, "secret").ok());
  const uint64_t outside = all.root("skills");
  constexpr uint64_t kNone = 987654321;
  ASSERT_NE(outside, 0u);
  ASSERT_TRUE(all.getattr(outside).ok());
  for (const Naming& naming : namings()) {
    const std::string method = std::string("/linkspan.v1.Fs/") + naming.method;
    const Outcome none = attacker.call(method, {naming.request(attacker, kNone)});
    EXPECT_EQ(none.code(), naming.expected) << naming.method << " of none: " << none.text();
    for (const uint64_t ino : {his, outside}) {
      const Outcome outcome = attacker.call(method, {naming.request(attacker, ino)});
      EXPECT_EQ(without(outcome.text(), ino), without(none.text(), kNone))
          << naming.method << (ino == his ? " of another tenant" : " outside of its routes");
    }
  }
  EXPECT_EQ(other.read(his)->data(), "secret");
}

TEST_F(OthersTest, AnothersChangesAndLocksAreNotTold) {
  Client other(router_, "lsp_b"), attacker(router_, "lsp_a");
  uint64_t his = 0;
  for (int i = 0; i < 20; ++i)
    his = other.create(other.root(), "file-" + std::to_string(i))->nodes(0).attr().ino();
  v1::ChangesRequest changes;
  changes.set_limit(100);
  for (const bool under : {false, true}) {
    under ? changes.set_under_ino(his) : changes.set_volume_of(his);
    const auto log = attacker.call<v1::ChangesReply>(&v1::Fs::Stub::Changes, changes);
    EXPECT_TRUE(log.ok() ? log->changes_size() == 0 : log.code() == Code::stale_node);
  }
  v1::ReclaimLocksRequest reclaim;
  *reclaim.add_locks() = lock_of(his);
  const auto told = attacker.call<v1::ReclaimLocksReply>(&v1::Fs::Stub::ReclaimLocks, reclaim);
  ASSERT_TRUE(told.ok()) << told.error().message;
  EXPECT_EQ(told->lost_size(), 1) << "it holds no lock there";
}

}  // namespace
}  // namespace linkspan::hostile
