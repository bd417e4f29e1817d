// The Hub's API: which commit a revision is, and what files it has.
#pragma once

#include "hub/http.hpp"
#include "hub/listing.hpp"
#include "hub/repository.hpp"

#include <string>

namespace deltavino::hub {

class Api {
public:
    // `retries`: tries after the first one of each request.
    Api(const Settings& settings, const Repository& repository, const Monitor& monitor, int retries);

    // Both throw ErrorKind::Network when there is no answer, ErrorKind::Input when it makes no sense.
    std::string commit();
    Listing files(const std::string& commit);

private:
    Response get(const std::string& url, TextSink& sink);

    const Settings& settings_;
    const Repository& repository_;
    const Monitor& monitor_;
    int retries_;
    Connection connection_;
};

std::string file_url(const Settings& settings, const Repository& repository, const std::string& commit,
                     const std::string& name);

// The reason of a failure with what the user can do about it.
Failure explain(Failure failure, const Settings& settings, const Repository& repository);

}  // namespace deltavino::hub
