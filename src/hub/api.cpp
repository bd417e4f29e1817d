// Source of truth: huggingface_hub `HfApi.model_info`, `HfApi.list_repo_tree`, and `hf_raise_for_status` for what the
// statuses mean.
#include "hub/api.hpp"

#include "base/error.hpp"

namespace deltavino::hub {
namespace {

constexpr std::uint64_t kMaxPageBytes = 64u << 20;
constexpr int kMaxPages = 2000;

std::string licence_hint(const Settings& settings, const Repository& repository) {
    return fmt::format("accept its licence at {}/{} and set HF_TOKEN to a token of that account", settings.endpoint,
                       repository.id);
}

}  // namespace

Failure explain(Failure failure, const Settings& settings, const Repository& repository) {
    const bool token = !settings.token.empty();
    std::string hint;
    if (failure.code == "GatedRepo" || (failure.status == 403 && failure.code.empty())) {
        hint = "the repository is gated or closed to you: " + licence_hint(settings, repository);
    } else if (failure.status == 403) {
        hint = "the token has no right to read it";
    } else if (failure.code == "RevisionNotFound") {
        hint = fmt::format("it has no revision '{}'", repository.revision);
    } else if (failure.code == "EntryNotFound") {
        hint = "the file is not in the repository any more";
    } else if (failure.status == 401 && token && failure.code != "RepoNotFound") {
        hint = "the token is not accepted: is HF_TOKEN (or the stored one) still valid?";
    } else if (failure.status == 401 || failure.status == 404) {
        hint = fmt::format("is the name spelled right? a private or gated repository needs {}",
                           token ? "a token with access to it" : "a token in HF_TOKEN");
    } else if (failure.status == 429) {
        hint = token ? "too many requests" : "too many requests; a token in HF_TOKEN raises the limit";
    }
    if (!hint.empty()) {
        failure.reason += "; " + hint;
    }
    return failure;
}

Api::Api(const Settings& settings, const Repository& repository, const Monitor& monitor, int retries)
    : settings_(settings),
      repository_(repository),
      monitor_(monitor),
      retries_(retries),
      connection_(settings, monitor) {}

Response Api::get(const std::string& url, TextSink& sink) {
    Retries retries(monitor_, fmt::format("cannot look up '{}' on the Hub (it is no local folder)", repository_.id),
                    false, retries_);
    while (true) {
        try {
            return connection_.get(url, 0, settings_.api_seconds, sink);
        } catch (const Failure& failure) {
            retries.after(explain(failure, settings_, repository_), false);
        }
    }
}

std::string Api::commit() {
    if (is_commit(repository_.revision)) {
        return repository_.revision;
    }
    TextSink sink(kMaxPageBytes);
    get(fmt::format("{}/api/models/{}/revision/{}", settings_.endpoint, repository_.id,
                    url_quote(repository_.revision)),
        sink);
    return commit_of_revision(sink.text(), repository_.id);
}

Listing Api::files(const std::string& commit) {
    Listing listing;
    std::string url =
        fmt::format("{}/api/models/{}/tree/{}?recursive=true&expand=false", settings_.endpoint, repository_.id, commit);
    for (int page = 0; !url.empty(); ++page) {
        if (page == kMaxPages) {
            fail(ErrorKind::Input, "cannot read the Hub's listing of '{}': it has more than {} pages", repository_.id,
                 kMaxPages);
        }
        TextSink sink(kMaxPageBytes);
        const Response response = get(url, sink);
        add_tree_page(listing, sink.text(), repository_.id);
        url = next_page(response);
        if (url.starts_with('/')) {
            url = settings_.endpoint + url;
        }
    }
    return listing;
}

std::string file_url(const Settings& settings, const Repository& repository, const std::string& commit,
                     const std::string& name) {
    return fmt::format("{}/{}/resolve/{}/{}", settings.endpoint, repository.id, commit, url_quote(name, "/"));
}

}  // namespace deltavino::hub
