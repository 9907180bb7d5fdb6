// Tokens that are narrowed, bound to a sandbox, held to addresses, renewed.
#include <set>

#include "rules_fixture.h"

namespace linkspan::core::testing {
namespace {

class TokenLife : public RulesTest {
 protected:
  static AttachRequest by(const std::string& token, const std::string& instance = {},
                          const std::string& peer = "unix:") {
    AttachRequest request;
    request.token = token;
    request.instance = instance;
    request.peer = peer;
    return request;
  }
  Result<NarrowReply> narrow(const std::string& token, const NarrowRequest& request) {
    return router_->narrow({}, {token, {}}, request);
  }
  std::string narrowed(const std::string& token, const NarrowRequest& request) {
    const auto reply = narrow(token, request);
    EXPECT_TRUE(reply.ok()) << (reply.ok() ? "" : reply.error().message);
    return reply.ok() ? reply->token : "";
  }
  static NarrowRequest only(const std::string& path, Access rights = Access::none) {
    NarrowRequest request;
    request.reaches = {{path, rights}};
    return request;
  }
  Code code_of(const Mount& m) {
    const auto reply = router_->getattr(m.who, {m.attached.routes[0].root});
    return reply.ok() ? Code{} : reply.code();
  }
  std::string refusal(const Result<AttachReply>& reply) {
    EXPECT_FALSE(reply.ok());
    EXPECT_EQ(reply.ok() ? Code{} : reply.code(), Code::unauthenticated);
    return reply.ok() ? "" : reply.error().message;
  }
  // Lets time pass, with these renewing their leases, until `over` or for so long; how long it was.
  template <class Over>
  std::chrono::milliseconds pass(std::vector<Mount*> mounts, std::chrono::milliseconds most,
                                 Over over) {
    const auto give_up = std::chrono::steady_clock::now() + kPatience;
    auto passed = 0ms;
    while (passed < most && !over()) {
      if (std::chrono::steady_clock::now() > give_up) {
        ADD_FAILURE() << "it takes too long";
        break;
      }
      clock_.advance(20ms);
      passed += 20ms;
      for (Mount* m : mounts) m->renew();
      std::this_thread::sleep_for(3ms);  // the real timer's and the upkeep's turn
    }
    return passed;
  }
};

// ---- narrower ones ----

TEST_F(TokenLife, ANarrowerTokenDoesLessInAnothersName) {
  add_token("parent", [](auto& t) { t.sandbox = "box"; });
  NarrowRequest request = only("memory", Access::append_only);
  request.sandbox = "reviewer";
  request.expires = Time{clock_.now().ns + 1'000'000'000};
  const auto reply = narrow("parent", request);
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->token.substr(0, 4), "lsp_");
  EXPECT_EQ(reply->expires, request.expires);
  ASSERT_EQ(reply->routes.size(), 1u);
  EXPECT_TRUE(reply->routes[0].root);
  Mount m = mount(reply->token);
  EXPECT_EQ(m.attached.principal, "agent");
  EXPECT_EQ(m.attached.sandbox, "box/reviewer");
  EXPECT_EQ(m.attached.token_expires, request.expires);
  ASSERT_EQ(m.attached.routes.size(), 1u);
  EXPECT_EQ(m.attached.routes[0].rights, Access::append_only);
  const Ino ino = file(m, m.root(), "x");
  EXPECT_EQ(code(m.start_remove(m.root(), "x").get()), Code::not_permitted);
  const auto versions = router_->versions(m.who, {ino, {}, 10});
  ASSERT_TRUE(versions.ok());
  EXPECT_EQ(versions->front().principal, "agent");
  EXPECT_EQ(versions->front().sandbox, "box/reviewer");
}

TEST_F(TokenLife, NothingBeyondTheParentIsHad) {
  add_token("parent", [](auto& t) {
    t.routes = {route("memory", true, Policy::merge), route("skills", false, {})};
    t.routes[0].rights = Access::no_delete;
    t.routes[0].patterns = {with_access("*.key", Access::none)};
    t.expires = Time{1'900'000'000'000'000'000};
  });
  EXPECT_EQ(narrow("parent", only("memory", Access::read_write)).code(), Code::access_denied);
  EXPECT_EQ(narrow("parent", only("skills", Access::append_only)).code(), Code::access_denied);
  EXPECT_EQ(narrow("parent", only("sessions")).code(), Code::access_denied);
  EXPECT_EQ(narrow("parent", only("memoryx")).code(), Code::access_denied);
  NarrowRequest late = only("memory");
  late.expires = Time{1'950'000'000'000'000'000};
  const auto reply = narrow("parent", late);
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->expires.ns, 1'900'000'000'000'000'000);
  Mount all = mount(), m = mount(reply->token);
  const Ino secret = file(all, all.root(), "a.key");
  EXPECT_EQ(router_->read(m.who, {secret, {}, 0, 10}).code(), Code::access_denied)
      << "the parent's patterns hold";
  EXPECT_EQ(narrow("nobody", {}).code(), Code::unauthenticated);
  EXPECT_EQ(router_->narrow({}, {}, {}).code(), Code::session_lost);
  late.expires = Time{clock_.now().ns};
  EXPECT_EQ(narrow("parent", late).code(), Code::invalid);

  NarrowRequest all_of_it;
  all_of_it.rights = Access::append_only;
  const auto whole = narrow("parent", all_of_it);
  ASSERT_TRUE(whole.ok());
  ASSERT_EQ(whole->routes.size(), 2u);
  EXPECT_EQ(whole->routes[0].rights, Access::append_only);
  EXPECT_EQ(whole->routes[1].rights, Access::read_only);
  EXPECT_EQ(whole->sandbox, "") << "made up for each session, as the parent's";
}

TEST_F(TokenLife, TheRulesOfAnotherRouteToTheVolumeAreNotShed) {
  const auto two = [](auto& t) {
    t.routes = {route("memory", true, Policy::merge), route("again", false, {})};
    t.routes[1].volume = "memory";
  };
  const auto strict = [&](auto& t) {
    two(t);
    t.routes[1].patterns = {with_access("*.key", Access::none)};
  };
  add_token("parent", strict);
  EXPECT_EQ(narrow("parent", only("memory")).code(), Code::access_denied);
  EXPECT_TRUE(narrow("parent", only("again")).ok());
  NarrowRequest both;
  both.reaches = {{"memory/x", Access::none}, {"again", Access::none}};
  const std::string child = narrowed("parent", both);
  EXPECT_EQ(narrow(child, only("again")).code(), Code::access_denied) << "only x is reached";
  add_token("later", two);
  const std::string before = narrowed("later", only("memory"));
  EXPECT_TRUE(attach(by(before)).ok());
  add_token("later", strict);
  EXPECT_FALSE(attach(by(before)).ok());
}

TEST_F(TokenLife, WhatTheParentLosesItsChildrenLose) {
  const auto parent = [&](const std::function<void(store::TokenRecord&)>& change) {
    add_token("parent", change);
  };
  parent([](auto&) {});
  const std::string child = narrowed("parent", {});
  const std::string grandchild = narrowed(child, {});
  EXPECT_EQ(mount(grandchild).attached.routes[0].rights, Access::read_write);
  parent([](auto& t) {
    t.routes = {route("memory", false, {}), route("skills", false, {})};
    t.routes[1].volume = "sessions";
    t.principal = "renamed";
  });
  const Mount m = mount(grandchild);
  ASSERT_EQ(m.attached.routes.size(), 1u) << "a path that leads elsewhere is gone";
  EXPECT_EQ(m.attached.routes[0].path, "memory");
  EXPECT_EQ(m.attached.routes[0].rights, Access::read_only);
  EXPECT_EQ(m.attached.principal, "renamed");
  parent([](auto& t) { t.routes = {route("sessions", true, {})}; });
  EXPECT_EQ(mount(child).attached.routes.size(), 1u);
  parent([](auto& t) {
    t.routes = {route("memory", true, {})};
    t.routes[0].path = "elsewhere";
  });
  EXPECT_NE(refusal(attach(by(child))).find("none of its routes"), std::string::npos);
}

TEST_F(TokenLife, RevokingOrExpiringTheParentEndsLiveChildren) {
  for (const bool expires : {false, true}) {
    add_token("parent", {});
    const std::string child = narrowed("parent", only("memory"));
    Mount m = mount(narrowed(child, {})), other = mount();
    ASSERT_EQ(code_of(m), Code{});
    add_token("parent", [&](auto& t) {
      if (expires)
        t.expires = Time{clock_.now().ns + 100'000'000};
      else
        t.revoked = true;
    });
    const auto took = pass({&m, &other}, 2000ms, [&] { return code_of(m) != Code{}; });
    EXPECT_LE(took, 1000ms);
    EXPECT_NE(code_of(m), Code{});
    EXPECT_EQ(code_of(other), Code{});
    EXPECT_NE(refusal(attach(by(child))).find(expires ? "expired" : "revoked"), std::string::npos);
    EXPECT_EQ(narrow(child, {}).code(), Code::unauthenticated);
    add_token("parent", {});  // again
    EXPECT_EQ(attach(by(child)).ok(), expires) << "what was revoked with its parent stays so";
  }
}

TEST_F(TokenLife, AMountNarrowsItsOwn) {
  Mount m = mount();
  NarrowRequest request = only("memory", Access::read_only);
  request.sandbox = "sub";
  const auto reply = router_->narrow(m.who, {}, request);
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->sandbox, m.attached.sandbox + "/sub");
  request.sandbox.clear();
  EXPECT_EQ(router_->narrow(m.who, {}, request)->sandbox, m.attached.sandbox);
  EXPECT_EQ(mount(reply->token).attached.sandbox, m.attached.sandbox + "/sub");
  request.sandbox.assign(limits::kLabelBytes, 'x');
  EXPECT_EQ(router_->narrow(m.who, {}, request).code(), Code::invalid);
  Credentials wrong = m.who;
  wrong.secret[0] ^= 1;
  EXPECT_EQ(router_->narrow(wrong, {}, {}).code(), Code::unauthenticated);
  request.sandbox = "box";
  EXPECT_NE(narrow("agent-token", request)->sandbox, "box") << "another's own name";
}

TEST_F(TokenLife, DepthAndNumberAreBounded) {
  std::string token = "agent-token";
  for (size_t depth = 0; depth < limits::kTokenDepth; ++depth) token = narrowed(token, {});
  EXPECT_EQ(mount(token).attached.routes.size(), 3u);
  EXPECT_EQ(narrow(token, {}).code(), Code::access_denied);
  NarrowRequest shortly;
  shortly.expires = Time{clock_.now().ns + 50'000'000};
  for (size_t i = 1; i < limits::kTokenChildren; ++i) narrowed("agent-token", shortly);
  EXPECT_EQ(narrow("agent-token", {}).code(), Code::busy);
  clock_.advance(60ms);
  EXPECT_TRUE(narrow("agent-token", {}).ok()) << "those that are over make room";
}

TEST_F(TokenLife, ATokenOfPathsReachesThemAndNoMore) {
  Mount all = mount();
  const Ino projects = all.create(all.root(), "projects", Kind::directory);
  const Ino x = all.create(projects, "x", Kind::directory);
  const Ino y = all.create(projects, "xy", Kind::directory);
  const Ino mine = file(all, x, "mine"), theirs = file(all, y, "theirs");
  const Ino top = file(all, all.root(), "top");
  NarrowRequest request;
  request.reaches = {{"memory/projects/x", Access::none}, {"memory/notes", Access::none}};
  const auto reply = narrow("agent-token", request);
  ASSERT_TRUE(reply.ok());
  ASSERT_EQ(reply->routes.size(), 1u);
  EXPECT_EQ(reply->routes[0].reaches, (std::vector<std::string>{"projects/x", "notes"}));
  Mount m = mount(reply->token);
  EXPECT_EQ(m.content(mine), "abc");
  EXPECT_TRUE(m.look(m.root(), "projects").node);
  EXPECT_TRUE(m.look(projects, "x").node);
  for (const Ino ino : {theirs, top})
    EXPECT_EQ(router_->read(m.who, {ino, {}, 0, 10}).code(), Code::access_denied);
  EXPECT_EQ(router_->readdir(m.who, {y}).code(), Code::access_denied);
  EXPECT_TRUE(router_->readdir(m.who, {projects}).ok());
  const Ino made = file(m, x, "made");
  EXPECT_EQ(code(m.start_create(projects, "z").get()), Code::access_denied);
  EXPECT_EQ(code(m.start_create(m.root(), "z").get()), Code::access_denied);
  EXPECT_TRUE(m.start_create(m.root(), "notes", Kind::directory).get().ok());
  EXPECT_EQ(code(m.start_rename(x, "made", m.root(), "z").get()), Code::access_denied);
  EXPECT_EQ(code(m.start_rename(m.root(), "projects", x, "p").get()), Code::access_denied);
  EXPECT_EQ(code(m.start(LinkRequest{m.op(), top, x, "link"}).get()), Code::access_denied);
  EXPECT_TRUE(m.start_rename(x, "made", x, "moved").get().ok());
  EXPECT_TRUE(made);
  const auto changes = router_->changes(m.who, {});
  ASSERT_TRUE(changes.ok());
  for (const Change& change : changes->changes)
    EXPECT_TRUE(change.path.starts_with("projects/x") || change.path == "notes" ||
                change.path == "projects")
        << change.path;

  EXPECT_EQ(narrow(reply->token, only("memory/projects")).code(), Code::access_denied);
  EXPECT_EQ(narrow(reply->token, only("memory/projects/xy")).code(), Code::access_denied);
  EXPECT_EQ(narrow(reply->token, only("memory"))->routes[0].reaches.size(), 2u);
  EXPECT_EQ(narrow(reply->token, only("memory/notes/deep"))->routes[0].reaches,
            std::vector<std::string>{"notes/deep"});
  request.reaches = {{"memory/a", Access::read_only}, {"memory/b", Access::none}};
  EXPECT_EQ(narrow("agent-token", request).code(), Code::invalid) << "one route, one right";
}

TEST_F(TokenLife, TheFamilysMountsAreCountedTogether) {
  const std::string child = narrowed("agent-token", {});
  std::set<uint64_t> sessions;
  for (size_t i = 0; i < limits::kSessionsPerToken; ++i) {
    const auto reply = attach(by(i % 2 == 0 ? child : "agent-token"));
    ASSERT_TRUE(reply.ok()) << reply.error().message;
    sessions.insert(reply->session.value);
  }
  EXPECT_EQ(sessions.size(), limits::kSessionsPerToken);
  EXPECT_EQ(attach(by(child)).code(), Code::busy);
}

// ---- bound on first use ----

TEST_F(TokenLife, ATokenThatBindsIsTheFirstSandboxs) {
  add_token("bound", [](auto& t) { t.bind = true; });
  const std::string here(limits::kInstanceBytes, 'h'), there(limits::kInstanceBytes, 't');
  EXPECT_NE(refusal(attach(by("bound"))).find("does not say which it is"), std::string::npos);
  const auto first = attach(by("bound", here));
  ASSERT_TRUE(first.ok());
  EXPECT_TRUE(attach(by("bound", here)).ok());
  EXPECT_NE(refusal(attach(by("bound", there))).find("bound to the sandbox that used it first"),
            std::string::npos);
  EXPECT_EQ(router_->narrow({}, {"bound", there}, {}).code(), Code::unauthenticated);
  EXPECT_EQ(router_->narrow({}, {"bound", {}}, {}).code(), Code::unauthenticated);
  AttachRequest again = by("bound", there);
  again.resume = first->session;
  again.resume_secret = first->secret;
  EXPECT_EQ(attach(again).code(), Code::unauthenticated) << "with the session's secret, too";
  add_token("bound", [](auto& t) { t.bind = true; });  // the router starts again
  EXPECT_FALSE(attach(by("bound", there)).ok());

  const auto child = router_->narrow({}, {"bound", here}, {});
  ASSERT_TRUE(child.ok());
  EXPECT_TRUE(attach(by(child->token, there)).ok()) << "it is for a sandbox of its own";
  EXPECT_FALSE(attach(by(child->token, here)).ok());
  add_token("bound", {});
  add_token("bound", [](auto& t) { t.bind = true; });
  EXPECT_TRUE(attach(by("bound", there)).ok()) << "the operator set it free";
}

TEST_F(TokenLife, NarrowingIsAFirstUse) {
  add_token("bound", [](auto& t) { t.bind = true; });
  const std::string here(limits::kInstanceBytes, 'h'), there(limits::kInstanceBytes, 't');
  ASSERT_TRUE(router_->narrow({}, {"bound", there}, {}).ok());
  EXPECT_FALSE(attach(by("bound", here)).ok());
}

// ---- from where ----

TEST_F(TokenLife, ATokenIsUsedFromItsAddressesOnly) {
  add_token("near", [](auto& t) {
    t.sources = {"10.1.0.0/16", "2001:db8::/32"};
    t.bind = true;
  });
  const std::string instance(limits::kInstanceBytes, 'i'), thief(limits::kInstanceBytes, 't');
  EXPECT_NE(refusal(attach(by("near", thief, "ipv4:10.2.0.1:80")))
                .find("may not be used from ipv4:10.2.0.1:80"),
            std::string::npos);
  EXPECT_FALSE(attach(by("near", thief, "unix:")).ok());
  const auto reply = attach(by("near", instance, "ipv4:10.1.2.3:80"));
  ASSERT_TRUE(reply.ok()) << "whoever was refused is not bound to";
  Credentials who{reply->session, reply->secret, "ipv6:[2001:db8::7]:80"};
  const Ino root = reply->routes[0].root;
  EXPECT_TRUE(router_->getattr(who, {root}).ok());
  EXPECT_TRUE(router_->check(who).ok());
  EXPECT_EQ(router_->narrow(who, {}, {}).code(), Code::unauthenticated)
      << "the session's secret is no proof of the sandbox";
  const auto child = router_->narrow(who, {{}, instance}, {});
  ASSERT_TRUE(child.ok());
  EXPECT_FALSE(attach(by(child->token, instance, "ipv4:10.2.0.1:80")).ok());
  who.peer = "ipv4:10.2.0.1:80";  // somebody has the session's secret
  EXPECT_EQ(router_->getattr(who, {root}).code(), Code::unauthenticated);
  EXPECT_EQ(router_->check(who).code(), Code::unauthenticated);
  EXPECT_EQ(router_->narrow(who, {}, {}).code(), Code::unauthenticated);
  EXPECT_EQ(router_->narrow(who, {"near", instance}, {}).code(), Code::unauthenticated);
  EXPECT_EQ(router_->open_stream(who, 0, std::make_shared<ScriptedSink>()).code(),
            Code::unauthenticated);
  who.peer = "ipv4:10.1.0.1:80";
  EXPECT_TRUE(router_->getattr(who, {root}).ok()) << "whose it is is not hurt";
}

// ---- renewed by their sessions ----

class Renewal : public TokenLife {
 protected:
  void SetUp() override {
    TokenLife::SetUp();
    renewing("short", 100);
  }
  void renewing(const std::string& name, int hard_end_s) {
    const Time end{clock_.now().ns + hard_end_s * 1'000'000'000LL};
    add_token(name, [&](auto& t) {
      t.renew = 2s;
      t.expires = end;
    });
  }
};

TEST_F(Renewal, ItGoesOnWhileASessionLivesAndEndsSoonAfter) {
  EXPECT_TRUE(narrow("short", {}).ok());
  clock_.advance(5000ms);
  Mount m = mount("short"), other = mount();
  EXPECT_EQ(m.attached.token_renew, 2s);
  pass({&m, &other}, 5000ms, [&] { return code_of(m) != Code{}; });
  EXPECT_EQ(code_of(m), Code{}) << "more than twice its time";
  ASSERT_TRUE(router_->detach(m.who).ok());
  EXPECT_TRUE(attach(by("short")).ok()) << "it mounts again";
  pass({&other}, 2000ms + kLease + 600ms, [] { return false; });
  EXPECT_NE(refusal(attach(by("short"))).find("since no mount used it any more"),
            std::string::npos);
}

TEST_F(Renewal, ASessionThatLostItsLeaseDoesNotRenew) {
  Mount m = mount("short"), other = mount();
  pass({&other}, kGrace + 500ms, [] { return false; });  // m says nothing
  EXPECT_FALSE(attach(by("short")).ok());
}

TEST_F(Renewal, ItHasAHardEnd) {
  renewing("bounded", 3);
  Mount m = mount("bounded"), other = mount();
  const auto took = pass({&m, &other}, 6000ms, [&] { return code_of(m) != Code{}; });
  EXPECT_GE(took, 2800ms);
  EXPECT_LE(took, 3100ms);
  EXPECT_FALSE(attach(by("bounded")).ok());
}

TEST_F(Renewal, ARevokedOneIsNotRenewed) {
  Mount m = mount("short"), other = mount();
  add_token("short", [&](auto& t) {
    t.renew = 2s;
    t.expires = Time{clock_.now().ns + 100'000'000'000};
    t.revoked = true;
  });
  EXPECT_LE(pass({&m, &other}, 2000ms, [&] { return code_of(m) != Code{}; }), 1000ms);
  pass({&m, &other}, 3000ms, [] { return false; });
  renewing("short", 100);
  EXPECT_FALSE(attach(by("short")).ok()) << "its time went on meanwhile";
}

TEST_F(Renewal, ChildrenEndWithAParentThatIsNotRenewedAnyMore) {
  Mount parent = mount("short");
  Mount child = mount(router_->narrow(parent.who, {}, {})->token), other = mount();
  pass({&parent, &child, &other}, 3000ms, [] { return false; });
  EXPECT_EQ(code_of(child), Code{});
  ASSERT_TRUE(router_->detach(parent.who).ok());
  const auto took = pass({&child, &other}, 4000ms, [&] { return code_of(child) != Code{}; });
  EXPECT_GE(took, 1000ms);
  EXPECT_LE(took, 2600ms);
}

TEST_F(Renewal, WhileTheStoreIsAwayItIsNotAskedInVain) {
  Mount m = mount("short"), other = mount();
  store_->before("renew_tokens", [] { return fail(Code::unavailable); });
  pass({&m, &other}, 1000ms, [] { return false; });
  EXPECT_EQ(code_of(m), Code{});
  store_->before("renew_tokens", nullptr);
  pass({&m, &other}, 4000ms, [] { return false; });
  EXPECT_EQ(code_of(m), Code{}) << "in time again";
}

}  // namespace
}  // namespace linkspan::core::testing
