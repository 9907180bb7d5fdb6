// Tenants, volumes, inode numbers, sessions.
#include <chrono>
#include <optional>
#include <set>
#include <thread>

#include "tests/conformance/suite.h"

namespace linkspan::test {
namespace {

using namespace std::chrono_literals;
using store::SessionRecord;
using store::TenantSpec;
using store::TenantState;

using Codes = std::vector<std::optional<Code>>;  // nothing: ok

class Tenancy : public StoreTest {};
class DurableTenancy : public Tenancy {};
LINKSPAN_CONFORMANCE(Tenancy);
LINKSPAN_DURABLE_CONFORMANCE(DurableTenancy);

TEST_P(Tenancy, ProvisionMakesRootDirectories) {
  const TenantState& state = world().state();
  ASSERT_EQ(state.volumes.size(), 2u);
  EXPECT_EQ(state.name, tenant_);
  EXPECT_EQ(state.volumes[0].name, "memory");
  EXPECT_EQ(state.volumes[1].name, "other");
  EXPECT_NE(state.volumes[0].id, state.volumes[1].id);
  EXPECT_EQ(state.volumes[0].used_files, 0u);
  EXPECT_EQ(state.volumes[0].used_bytes, 0u);
  const Attr root = world().attr(world().root());
  EXPECT_EQ(root.kind, Kind::directory);
  EXPECT_EQ(root.mode, 0755u);
  EXPECT_EQ(root.uid, 0u);
  EXPECT_EQ(root.nlink, 2u);
  EXPECT_EQ(root.size, 0u);
  EXPECT_EQ(root.ino, world().root());
  EXPECT_EQ(root.parent, root.ino) << "a root is its own parent";
  EXPECT_GE(root.ino.value, 16u);
  EXPECT_EQ(root.mtime, world().now());
  EXPECT_EQ(root.btime, world().now());
  EXPECT_TRUE(world().names(world().root()).empty());
}

TEST_P(Tenancy, ProvisionAddsAndUpdatesAndNeverRemoves) {
  const Ino file = world().make_file(root(), "kept", "bytes");
  TenantSpec spec{tenant_, {{"memory", 1000, 10, 5, 7}, {"third", 0, 0, 1000, 90}}};
  EXPECT_EQ(must(store_->provision(spec, world().now())), world().state().id);
  const TenantState state = must(store_->open_tenant(tenant_, limits::kLease));
  ASSERT_EQ(state.volumes.size(), 3u);
  std::set<std::string> names;
  for (const store::Volume& volume : state.volumes) {
    names.insert(volume.name);
    if (volume.name != "memory") continue;
    EXPECT_EQ(volume.id, world().volume());
    EXPECT_EQ(volume.root, root());
    EXPECT_EQ(volume.quota_bytes, 1000u);
    EXPECT_EQ(volume.quota_files, 10u);
    EXPECT_EQ(volume.used_files, 1u);
    EXPECT_EQ(volume.used_bytes, 5u);
  }
  EXPECT_EQ(names, (std::set<std::string>{"memory", "other", "third"}));
  EXPECT_EQ(world().content(file), "bytes");
}

TEST_P(Tenancy, NamesAreNeeded) {
  EXPECT_EQ(code_of(store_->provision({"", {}}, Time{1})), Code::invalid);
  EXPECT_EQ(code_of(store_->provision({new_tenant_name(), {{"", 0, 0, 1, 1}}}, Time{1})),
            Code::invalid);
}

TEST_P(Tenancy, OpenNeedsAProvisionedTenant) {
  EXPECT_EQ(code_of(store_->open_tenant("nobody-" + new_tenant_name(), limits::kLease)),
            Code::not_found);
}

TEST_P(Tenancy, EveryOpenRaisesTheEpoch) {
  const TenantState second = must(store_->open_tenant(tenant_, limits::kLease));
  const TenantState third = must(store_->open_tenant(tenant_, limits::kLease));
  EXPECT_GT(second.epoch, world().state().epoch);
  EXPECT_GT(third.epoch, second.epoch);
}

TEST_P(Tenancy, OpenTellsTheLastSeq) {
  must(world().create(root(), "a"));
  const Seq last = must(world().create(root(), "b")).reply.seq;
  EXPECT_GE(must(store_->open_tenant(tenant_, limits::kLease)).last_seq, last);
  EXPECT_EQ(world().changes().back().seq, last);
}

TEST_P(Tenancy, InodeNumbersAreNeverGivenTwice) {
  const TenantId id = world().state().id;
  const Ino first = must(store_->reserve_inodes(id, 100));
  const Ino second = must(store_->reserve_inodes(id, 1));
  const Ino third = must(store_->reserve_inodes(id, 5000));
  EXPECT_GE(first.value, 16u);
  EXPECT_GT(first, world().root());
  EXPECT_GE(second.value, first.value + 100);
  EXPECT_GE(third.value, second.value + 1);
  must(store_->provision({tenant_, {{"later", 0, 0, 1, 1}}}, world().now()));
  for (const store::Volume& volume : must(store_->open_tenant(tenant_, limits::kLease)).volumes) {
    if (volume.name != "later") continue;
    EXPECT_GE(volume.root.value, third.value + 5000);
  }
  EXPECT_EQ(code_of(store_->reserve_inodes(TenantId{987654321}, 1)), Code::not_found);
  EXPECT_EQ(code_of(store_->reserve_inodes(id, 0)), Code::invalid);
}

TEST_P(Tenancy, ABeatTellsWhoOwnsIt) {
  const TenantState& state = world().state();
  const std::string other_name = new_tenant_name();
  must(store_->provision({other_name, {}}, world().now()));
  const TenantState other = must(store_->open_tenant(other_name, limits::kLease));
  const auto beat = [&](const std::vector<store::Ownership>& owned) {
    Codes codes;
    for (const Status& answer : must(store_->beat(owned))) codes.push_back(code_of(answer));
    return codes;
  };
  const store::Ownership second{other.id, other.epoch, 1h}, nobody{TenantId{987654321}, {}, 1h};
  EXPECT_EQ(beat({}), Codes{});
  EXPECT_EQ(beat({{state.id, state.epoch, 1h}, second}), (Codes{{}, {}}));
  const TenantState next = must(store_->open_tenant(tenant_, limits::kLease));
  EXPECT_EQ(beat({second, {state.id, state.epoch, 1h}, nobody, {state.id, next.epoch, 1h}}),
            (Codes{{}, Code::fenced, Code::not_found, {}}));
}

TEST_P(Tenancy, TellsTheLongestLeaseThatMayRun) {
  const std::string name = new_tenant_name();
  must(store_->provision({name, {}}, world().now()));
  const auto lease_before = [&](const TenantState& state) { return state.earlier_lease; };
  EXPECT_EQ(lease_before(must(store_->open_tenant(name, 3s))), 0s) << "nobody had it";
  EXPECT_EQ(lease_before(must(store_->open_tenant(name, 1s))), 3s);
  const TenantState third = must(store_->open_tenant(name, 2s));
  EXPECT_EQ(third.earlier_lease, 3s) << "the first one's may still run";
  must(must(store_->beat({{third.id, third.epoch, 2s}}))[0]);  // they are over
  const TenantState fourth = must(store_->open_tenant(name, 5s));
  EXPECT_EQ(fourth.earlier_lease, 2s);
  EXPECT_FALSE(must(store_->beat({{third.id, third.epoch, 1s}}))[0].ok());
  EXPECT_EQ(lease_before(must(store_->open_tenant(name, 1s))), 5s);
}

TEST_P(Tenancy, IsServedByWhoeverBeatsAndLives) {
  const auto beat = [](store::Store& store, const TenantState& owned,
                       std::chrono::milliseconds lease) {
    return must(store.beat({{owned.id, owned.epoch, lease}}))[0];
  };
  EXPECT_FALSE(must(store_->is_served("nobody-" + new_tenant_name(), 1h)));
  must(beat(*store_, world().state(), 1h));
  auto next = engine().open();
  if (!engine().durable()) {
    EXPECT_FALSE(must(store_->is_served(tenant_, 1h))) << "nobody else can own anything";
    return;
  }
  EXPECT_TRUE(must(next->is_served(tenant_, 0ms))) << "its own lease counts";
  must(beat(*store_, world().state(), 0ms));
  EXPECT_FALSE(must(next->is_served(tenant_, 1h))) << "silent for too long";
  const TenantState taken = must(next->open_tenant(tenant_, limits::kLease));
  must(beat(*next, taken, 1h));
  EXPECT_EQ(code_of(beat(*store_, world().state(), 1h)), Code::fenced);
  must(beat(*next, taken, 1h));  // the old claim is gone by now
  EXPECT_TRUE(must(store_->is_served(tenant_, 1h)));
  next.reset();
  const auto until =
      std::chrono::steady_clock::now() + 10s;  // the server notices the closed socket
  while (must(store_->is_served(tenant_, 1h)) && std::chrono::steady_clock::now() < until)
    std::this_thread::sleep_for(5ms);
  EXPECT_FALSE(must(store_->is_served(tenant_, 1h))) << "its end is known at once";
}

TEST_P(Tenancy, WhoWasReplacedNeitherBeginsNorEndsSessions) {
  const TenantState old = world().state();
  SessionRecord record = must(store_->find_session(world().session()));
  const TenantState next = must(store_->open_tenant(tenant_, limits::kLease));
  EXPECT_EQ(code_of(store_->end_session(old.id, record.id, old.epoch)), Code::fenced);
  EXPECT_EQ(must(store_->find_session(record.id)).id, record.id);
  record.id = SessionId{record.id.value + 1};
  EXPECT_EQ(code_of(store_->put_session(record, old.epoch)), Code::fenced);
  EXPECT_EQ(code_of(store_->find_session(record.id)), Code::not_found);
  must(store_->put_session(record, next.epoch));
}

TEST_P(Tenancy, SessionsLiveUntilEnded) {
  World other = world().fork();
  SessionRecord record;
  record.id = SessionId{0xFEDCBA9876543210 + world().session().value};
  record.tenant = world().state().id;
  record.token.fill(0x80);
  record.secret.fill(0xFF);
  record.principal = "p";
  record.sandbox = "s";
  record.attached = Time{1234567890123456789};
  must(store_->put_session(record, world().state().epoch));
  const SessionRecord found = must(store_->find_session(record.id));
  EXPECT_EQ(found.id, record.id);
  EXPECT_EQ(found.tenant, record.tenant);
  EXPECT_EQ(found.token, record.token);
  EXPECT_EQ(found.secret, record.secret);
  EXPECT_EQ(found.principal, "p");
  EXPECT_EQ(found.sandbox, "s");
  EXPECT_EQ(found.attached, record.attached);

  std::set<SessionId> live;
  for (const SessionRecord& s : must(store_->live_sessions(record.tenant))) live.insert(s.id);
  EXPECT_EQ(live, (std::set<SessionId>{record.id, world().session(), other.session()}));

  must(store_->end_session(record.tenant, record.id, world().state().epoch));
  must(store_->end_session(record.tenant, record.id, world().state().epoch));
  EXPECT_EQ(code_of(store_->find_session(record.id)), Code::not_found);
  EXPECT_EQ(must(store_->live_sessions(record.tenant)).size(), 2u);
}

TEST_P(Tenancy, PingAnswers) {
  must(store_->ping());
}

TEST_P(Tenancy, ReopenKeepsEverything) {
  const Ino dir = world().make_dir(root(), "dir");
  const Ino file = world().make_file(dir, "file", "one");
  must(world().append(file, "two"));
  must(world().set_xattr(file, "user.x", std::string("\0y", 2)));
  must(world().symlink(dir, "link", "file"));
  const Attr before = world().attr(file);

  auto again = engine().open();
  World second = World::reopen(again, tenant_);
  EXPECT_GT(second.state().epoch, world().state().epoch);
  EXPECT_EQ(second.attr(file), before);
  EXPECT_EQ(second.content(file), "onetwo");
  EXPECT_EQ(second.content(file, Version{2}), "one");
  EXPECT_EQ(second.names(dir), (std::vector<std::string>{"file", "link"}));
  EXPECT_EQ(second.find(dir, "link")->target, "file");
  EXPECT_EQ(must(again->xattrs(second.scope, file)).xattrs,
            (std::vector<Xattr>{{"user.x", std::string("\0y", 2)}}));
  EXPECT_EQ(second.changes(), world().changes());
  EXPECT_EQ(must(again->find_session(world().session())).principal, "alice");
  EXPECT_EQ(code_of(world().create(root(), "late")), Code::fenced);
  must(second.create(root(), "new"));
}

TEST_P(DurableTenancy, WhatWasAcknowledgedSurvivesACrash) {
  const Ino file = world().make_file(root(), "file", "acknowledged");
  engine().crash();
  EXPECT_EQ(world().content(file), "acknowledged")
      << "the same store goes on, over new connections";
  must(world().append(file, ", and on"));
  World second = World::reopen(engine().open(), tenant_);
  EXPECT_EQ(second.content(file), "acknowledged, and on");
}

}  // namespace
}  // namespace linkspan::test
