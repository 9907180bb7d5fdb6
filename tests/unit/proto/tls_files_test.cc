#include "linkspan/tls_files.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace linkspan::tls {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::MatchesRegex;

class TlsFiles : public testing::Test {
 protected:
  TlsFiles() {
    char dir[] = "/tmp/linkspan-tls-XXXXXX";
    dir_ = mkdtemp(dir);
    make("a");
    make("b");
  }
  ~TlsFiles() override { std::filesystem::remove_all(dir_); }

  std::string at(const std::string& name) const { return dir_ + "/" + name; }
  // A pair that signed itself: NAME.pem, NAME.key.
  void make(const std::string& name, const std::string& more = "-nodes -days 2") {
    openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -subj /CN=x " + more +
            " -keyout " + at(name + ".key") + " -out " + at(name + ".pem"));
  }
  static void openssl(const std::string& arguments) {
    ASSERT_EQ(std::system(("openssl " + arguments + " 2> /dev/null").c_str()), 0) << arguments;
  }
  std::vector<std::string> problems(const Files& files) {
    std::vector<std::string> texts;
    for (const Problem& problem : read(files, &pems_))
      texts.push_back(std::to_string(static_cast<int>(problem.part)) + " " + problem.text);
    return texts;
  }

  std::string dir_;
  Pems pems_;
};

TEST_F(TlsFiles, GivesWhatIsRight) {
  EXPECT_THAT(problems({at("a.pem"), at("a.key"), at("b.pem")}), IsEmpty());
  EXPECT_TRUE(pems_.certificate.starts_with("-----BEGIN CERTIFICATE"));
  EXPECT_TRUE(pems_.key.starts_with("-----BEGIN PRIVATE KEY"));
  EXPECT_NE(pems_.authorities, pems_.certificate);
  EXPECT_THAT(expiry(pems_.certificate), MatchesRegex("20..-..-..T..:..:..Z"));
  EXPECT_THAT(problems({}), IsEmpty());
  EXPECT_EQ(pems_, Pems{});
}

TEST_F(TlsFiles, NamesWhatIsMissingOrOfAnotherSort) {
  EXPECT_THAT(problems({at("no.pem"), at("no.key"), at("no.ca")}),
              ElementsAre("0 " + at("no.pem") +
                              ": No such file or directory; is the path right, and may this user "
                              "read it?",
                          "1 " + at("no.key") +
                              ": No such file or directory; is the path right, and may this user "
                              "read it?",
                          "2 " + at("no.ca") +
                              ": No such file or directory; is the path right, and may this user "
                              "read it?"));
  EXPECT_THAT(problems({at("a.key"), at("a.pem"), at("a.key")}),
              ElementsAre("0 " + at("a.key") +
                              ": holds no certificate; put it there in PEM form (-----BEGIN "
                              "CERTIFICATE-----), followed by those that lead to its authority",
                          "1 " + at("a.pem") + ": the key can be read by others; mend it with: " +
                              "chmod 600 " + at("a.pem"),
                          "2 " + at("a.key") +
                              ": holds no certificate; put the authority's there in PEM form "
                              "(-----BEGIN CERTIFICATE-----)"));
}

TEST_F(TlsFiles, AKeyIsItsOwnersAlone) {
  chmod(at("a.key").c_str(), 0640);  // a group may read it, as Debian's ssl-cert does
  EXPECT_THAT(problems({at("a.pem"), at("a.key"), {}}), IsEmpty());
  for (const auto& [mode, how] : {std::pair{0604, "read"}, std::pair{0660, "written"}}) {
    chmod(at("a.key").c_str(), static_cast<mode_t>(mode));
    EXPECT_THAT(problems({at("a.pem"), at("a.key"), {}}),
                ElementsAre("1 " + at("a.key") + ": the key can be " + how +
                            " by others; mend it with: chmod 600 " + at("a.key")));
  }
}

TEST_F(TlsFiles, AKeyBelongsToItsCertificate) {
  EXPECT_THAT(problems({at("a.pem"), at("b.key"), {}}),
              ElementsAre("1 " + at("b.key") + ": the key does not belong to the certificate in " +
                          at("a.pem") + "; put the two there that were made together"));
}

TEST_F(TlsFiles, NobodyTypesAPassPhrase) {
  make("c", "-passout pass:x -days 2");
  EXPECT_THAT(problems({at("c.pem"), at("c.key"), {}}),
              ElementsAre("1 " + at("c.key") +
                          ": the key has a pass phrase, which nobody is there to type; take it off "
                          "with: openssl pkey -in " +
                          at("c.key") + " -out FILE"));
}

TEST_F(TlsFiles, ACertificateOutOfDateIsNone) {
  std::ofstream(at("index.txt"));
  std::ofstream(at("ca.cnf"))
      << "[ca]\ndefault_ca = d\n[d]\ndatabase = " << at("index.txt") << "\nnew_certs_dir = " << dir_
      << "\nrand_serial = yes\nunique_subject = no\ndefault_md = sha256\npolicy = p\n[p]\n"
         "commonName = supplied\n";
  openssl("req -new -subj /CN=x -key " + at("a.key") + " -out " + at("a.csr"));
  const auto signed_for = [&](const std::string& dates) {
    openssl("ca -batch -notext -config " + at("ca.cnf") + " -keyfile " + at("b.key") + " -cert " +
            at("b.pem") + " -in " + at("a.csr") + " -out " + at("dated.pem") + " " + dates);
    return problems({at("dated.pem"), at("a.key"), {}});
  };
  EXPECT_THAT(signed_for("-startdate 20200101000000Z -enddate 20200201000000Z"),
              ElementsAre("0 " + at("dated.pem") +
                          ": the certificate expired on 2020-02-01T00:00:00Z; put a new one "
                          "there"));
  EXPECT_THAT(signed_for("-startdate 21200101000000Z -enddate 21200201000000Z"),
              ElementsAre("0 " + at("dated.pem") +
                          ": the certificate is valid only from 2120-01-01T00:00:00Z on; is "
                          "this machine's clock right?"));
}

}  // namespace
}  // namespace linkspan::tls
