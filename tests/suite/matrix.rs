//! The table of every route and every kind of caller: who gets what, and with which code who does not.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use hyper::Method;
use quire::digest::Sha256;
use quire::http::route::{Route, RouteError, RouteName};
use serde_json::{Value, json};
use strum::IntoEnumIterator;

use crate::harness::package::Package;
use crate::harness::{ADMIN_TOKEN, Answer, Client, Server, image};
use crate::issuing::{Issuing, Kind, grants};

/// Who asks, in the order of the outcomes of a row. Who has a role has it on `acme`, except for the stranger,
/// who administers `corp`. The last five are publishers: by JWTs of four kinds, and by a short token with
/// every scope of the repositories below.
pub const CALLERS: [&str; 18] = [
    "anonymous",
    "nobody",
    "bad",
    "expired",
    "revoked",
    "reader",
    "orchestrator",
    "contributor",
    "publisher",
    "org-admin",
    "stranger",
    "sys-admin",
    "admin",
    "hs256",
    "rs256",
    "es256",
    "eddsa",
    "short",
];

/// What a letter means below `/v2/` and elsewhere, and what it means below `/api/`.
const LEGEND: &[(char, &str, &str)] = &[
    ('o', "200", "200"),
    ('+', "201", "201"),
    ('a', "202", "202"),
    ('n', "204", "204"),
    ('u', "401 UNAUTHORIZED", "401 unauthorized"),
    ('p', "403 DENIED permission_missing", "403 permission_missing"),
    ('m', "403 DENIED not_a_member", "403 not_a_member"),
    ('c', "403 DENIED create_only", "409 create_only"),
    ('N', "404 NAME_UNKNOWN", "404 not_found"),
    ('M', "404 MANIFEST_UNKNOWN", "404 manifest_unknown"),
    ('B', "404 BLOB_UNKNOWN", ""),
    ('U', "404 BLOB_UPLOAD_UNKNOWN", ""),
    ('i', "", "400 invalid"),
    ('f', "", "409 org_not_empty"),
    ('C', "", "403 create_only"),
    ('x', "", "400 unsupported"),
];

/// Method, path, outcomes, and the name of the body if there is one. `ghost` is no organisation. A row is asked
/// by every caller before the next one is; what a row writes carries the caller's name or changes nothing.
const TABLE: &str = "
--                                                          anonymous, a short token of nobody
--                                                          |  bad, expired, revoked
--                                                          |  |   reader, orchestrator
--                                                          |  |   |  contributor, publisher, org_admin
--                                                          |  |   |  |   org_admin of corp
--                                                          |  |   |  |   | sys_admin, admin token
--                                                          |  |   |  |   | |  HS256, RS256, ES256, EdDSA
--                                                          |  |   |  |   | |  |    short
GET    /livez                                               oo ooo oo ooo o oo oooo o
GET    /readyz                                              oo ooo oo ooo o oo oooo o
GET    /metrics                                             oo ooo oo ooo o oo oooo o
GET    /node?challenge=0123456789abcdef                     oo ooo oo ooo o oo oooo o
GET    /v2/                                                 uo uuu oo ooo o oo oooo o
GET    /v2/_catalog                                         uo uuu oo ooo o oo oooo o
GET    /token                                               oo uuu oo ooo o oo oooo p
GET    /token?scope=repository:acme/tool:pull,push          oo uuu oo ooo o oo oooo p
GET    /blobs/sha256/{hex:system}                           oo uuu oo ooo o oo oooo o
GET    /blobs/sha256/{hex:acme}                             uu uuu oo ooo p oo oooo o
GET    /blobs/sha256/{hex:corp}                             uu uuu pp ppp o oo pppp p
GET    /blobs/sha256/{hex:ghost}                            uu uuu pp ppp p BB pppp p

-- One's own organisation
GET    /v2/acme/tool/tags/list                              uu uuu oo ooo m oo oooo o
GET    /v2/acme/tool/manifests/latest                       uu uuu oo ooo m oo oooo o
GET    /v2/acme/tool/manifests/{manifest:acme}              uu uuu oo ooo m oo oooo o
GET    /v2/acme/tool/blobs/{layer:acme}                     uu uuu oo ooo m oo oooo o
GET    /v2/acme/tool/referrers/{manifest:acme}              uu uuu oo ooo m oo oooo o
GET    /v2/acme/tool/_quire/tags/latest/history             uu uuu oo ooo m oo oooo o
POST   /v2/acme/tool/blobs/uploads/                         uu uuu pp aaa m aa aaaa a
POST   /v2/acme/tool/blobs/uploads/?digest={layer:acme}     uu uuu pp +++ m ++ ++++ +  layer:acme
POST   /v2/acme/tool/blobs/uploads/?mount={layer:system}    uu uuu pp +++ m ++ ++++ +
POST   /v2/acme/tool/blobs/uploads/?mount={layer:ghost}     uu uuu pp aaa m aa aaaa a
GET    /v2/acme/tool/blobs/uploads/{id}                     uu uuu pp UUU m UU UUUU U
PATCH  /v2/acme/tool/blobs/uploads/{id}                     uu uuu pp UUU m UU UUUU U
PUT    /v2/acme/tool/blobs/uploads/{id}?digest={layer:acme} uu uuu pp UUU m UU UUUU U
DELETE /v2/acme/tool/blobs/uploads/{id}                     uu uuu pp UUU m UU UUUU U
PUT    /v2/acme/tool/manifests/new-{who}                    uu uuu pp +++ m ++ ++++ +  index
PUT    /v2/acme/tool/manifests/moves-{who}                  uu uuu pp c++ m ++ ++++ +  index
DELETE /v2/acme/tool/manifests/gone-{who}                   uu uuu pp caa m aa aaaa a
DELETE /v2/acme/tool/manifests/{manifest:ghost}             uu uuu pp cMM m MM MMMM M
DELETE /v2/acme/tool/blobs/{layer:ghost}                    uu uuu pp cBB m BB BBBB B

-- One's own organisation, where the short token has no scope
GET    /v2/acme/other/tags/list                             uu uuu NN NNN m NN NNNN u
POST   /v2/acme/other/blobs/uploads/                        uu uuu pp aaa m aa aaaa u
DELETE /v2/acme/other/manifests/latest                      uu uuu pp cMM m MM MMMM u

-- The system catalog
GET    /v2/system/tool/tags/list                            oo uuu oo ooo o oo oooo o
GET    /v2/system/tool/manifests/latest                     oo uuu oo ooo o oo oooo o
GET    /v2/system/tool/manifests/{manifest:system}          oo uuu oo ooo o oo oooo o
GET    /v2/system/tool/blobs/{layer:system}                 oo uuu oo ooo o oo oooo o
GET    /v2/system/tool/referrers/{manifest:system}          oo uuu oo ooo o oo oooo o
GET    /v2/system/tool/_quire/tags/latest/history           oo uuu oo ooo o oo oooo o
POST   /v2/system/tool/blobs/uploads/                       uu uuu pp ppp p aa pppp p
POST   /v2/system/tool/blobs/uploads/?digest={layer:system} uu uuu pp ppp p ++ pppp p  layer:system
POST   /v2/system/tool/blobs/uploads/?mount={layer:acme}    uu uuu pp ppp p ++ pppp p
GET    /v2/system/tool/blobs/uploads/{id}                   uu uuu pp ppp p UU pppp p
PATCH  /v2/system/tool/blobs/uploads/{id}                   uu uuu pp ppp p UU pppp p
PUT    /v2/system/tool/blobs/uploads/{id}?digest={layer:acme} uu uuu pp ppp p UU pppp p
DELETE /v2/system/tool/blobs/uploads/{id}                   uu uuu pp ppp p UU pppp p
PUT    /v2/system/tool/manifests/new-{who}                  uu uuu pp ppp p ++ pppp p  index
PUT    /v2/system/tool/manifests/moves-{who}                uu uuu pp ppp p ++ pppp p  index
DELETE /v2/system/tool/manifests/gone-{who}                 uu uuu pp ppp p aa pppp p
DELETE /v2/system/tool/manifests/{manifest:ghost}           uu uuu pp ppp p MM pppp p
DELETE /v2/system/tool/blobs/{layer:ghost}                  uu uuu pp ppp p BB pppp p

-- A foreign organisation
GET    /v2/corp/tool/tags/list                              uu uuu mm mmm o oo mmmm m
GET    /v2/corp/tool/manifests/latest                       uu uuu mm mmm o oo mmmm m
GET    /v2/corp/tool/manifests/{manifest:corp}              uu uuu mm mmm o oo mmmm m
GET    /v2/corp/tool/blobs/{layer:corp}                     uu uuu mm mmm o oo mmmm m
GET    /v2/corp/tool/referrers/{manifest:corp}              uu uuu mm mmm o oo mmmm m
GET    /v2/corp/tool/_quire/tags/latest/history             uu uuu mm mmm o oo mmmm m
POST   /v2/corp/tool/blobs/uploads/                         uu uuu pp mmm a aa mmmm m
POST   /v2/corp/tool/blobs/uploads/?digest={layer:corp}     uu uuu pp mmm + ++ mmmm m  layer:corp
POST   /v2/corp/tool/blobs/uploads/?mount={layer:acme}&from=acme/tool uu uuu pp mmm a ++ mmmm m
GET    /v2/corp/tool/blobs/uploads/{id}                     uu uuu pp mmm U UU mmmm m
PATCH  /v2/corp/tool/blobs/uploads/{id}                     uu uuu pp mmm U UU mmmm m
PUT    /v2/corp/tool/blobs/uploads/{id}?digest={layer:corp} uu uuu pp mmm U UU mmmm m
DELETE /v2/corp/tool/blobs/uploads/{id}                     uu uuu pp mmm U UU mmmm m
PUT    /v2/corp/tool/manifests/new-{who}                    uu uuu pp mmm + ++ mmmm m  index
PUT    /v2/corp/tool/manifests/moves-{who}                  uu uuu pp mmm + ++ mmmm m  index
DELETE /v2/corp/tool/manifests/gone-{who}                   uu uuu pp mmm a aa mmmm m
DELETE /v2/corp/tool/manifests/{manifest:ghost}             uu uuu pp mmm M MM mmmm m
DELETE /v2/corp/tool/blobs/{layer:ghost}                    uu uuu pp mmm B BB mmmm m

-- No organisation at all
GET    /v2/ghost/tool/tags/list                             uu uuu mm mmm m NN mmmm m
GET    /v2/ghost/tool/manifests/latest                      uu uuu mm mmm m MM mmmm m
GET    /v2/ghost/tool/manifests/{manifest:ghost}            uu uuu mm mmm m MM mmmm m
GET    /v2/ghost/tool/blobs/{layer:ghost}                   uu uuu mm mmm m BB mmmm m
GET    /v2/ghost/tool/referrers/{manifest:ghost}            uu uuu mm mmm m oo mmmm m
GET    /v2/ghost/tool/_quire/tags/latest/history            uu uuu mm mmm m MM mmmm m
POST   /v2/ghost/tool/blobs/uploads/                        uu uuu pp mmm m mm mmmm m
POST   /v2/ghost/tool/blobs/uploads/?digest={layer:ghost}   uu uuu pp mmm m mm mmmm m  layer:ghost
POST   /v2/ghost/tool/blobs/uploads/?mount={layer:system}   uu uuu pp mmm m mm mmmm m
GET    /v2/ghost/tool/blobs/uploads/{id}                    uu uuu pp mmm m mm mmmm m
PATCH  /v2/ghost/tool/blobs/uploads/{id}                    uu uuu pp mmm m mm mmmm m
PUT    /v2/ghost/tool/blobs/uploads/{id}?digest={layer:acme} uu uuu pp mmm m mm mmmm m
DELETE /v2/ghost/tool/blobs/uploads/{id}                    uu uuu pp mmm m mm mmmm m
PUT    /v2/ghost/tool/manifests/new-{who}                   uu uuu pp mmm m mm mmmm m  index
DELETE /v2/ghost/tool/manifests/gone-{who}                  uu uuu pp mmm m mm mmmm m
DELETE /v2/ghost/tool/manifests/{manifest:ghost}            uu uuu pp mmm m mm mmmm m
DELETE /v2/ghost/tool/blobs/{layer:ghost}                   uu uuu pp mmm m mm mmmm m

-- Who one is
GET    /api/whoami                                          uu uuu oo ooo o oo oooo u
GET    /api/can-i?action=push&repository=acme/tool          uu uuu oo ooo o oo oooo u
GET    /api/can-i?action=push&repository=ghost/tool         uu uuu oo ooo o oo oooo u

-- Organisations
GET    /api/orgs                                            uu uuu oo ooo o oo oooo u
GET    /api/orgs/acme                                       uu uuu oo ooo m oo oooo u
GET    /api/orgs/corp                                       uu uuu mm mmm o oo mmmm u
GET    /api/orgs/ghost                                      uu uuu mm mmm m NN mmmm u
GET    /api/orgs/system                                     uu uuu mm mmm m NN mmmm u
POST   /api/orgs                                            uu uuu pp ppp p ++ pppp u  organisation
PATCH  /api/orgs/acme                                       uu uuu pp ppp p oo pppp u  name
PATCH  /api/orgs/corp                                       uu uuu pp ppp p oo pppp u  name
PATCH  /api/orgs/ghost                                      uu uuu pp ppp p NN pppp u  name
PATCH  /api/orgs/system                                     uu uuu pp ppp p NN pppp u  name
DELETE /api/orgs/by-{who}                                   uu uuu pp ppp p nn pppp u
DELETE /api/orgs/acme                                       uu uuu pp ppp p ff pppp u
DELETE /api/orgs/corp                                       uu uuu pp ppp p ff pppp u
DELETE /api/orgs/ghost                                      uu uuu pp ppp p NN pppp u
DELETE /api/orgs/system                                     uu uuu pp ppp p NN pppp u

-- API tokens
GET    /api/tokens                                          uu uuu pp ppo o oo pppp u
GET    /api/tokens?catalog=acme                             uu uuu pp ppo m oo pppp u
GET    /api/tokens?catalog=corp                             uu uuu pp ppm o oo pppp u
GET    /api/tokens?catalog=ghost                            uu uuu pp ppm m oo pppp u
GET    /api/tokens?catalog=system                           uu uuu pp ppp p oo pppp u
POST   /api/tokens                                          uu uuu pp pp+ m ++ pppp u  grant:acme
POST   /api/tokens                                          uu uuu pp ppm + ++ pppp u  grant:corp
POST   /api/tokens                                          uu uuu pp ppm m ii pppp u  grant:ghost
POST   /api/tokens                                          uu uuu pp ppp p ++ pppp u  grant:system
DELETE /api/tokens/{token:acme}                             uu uuu pp ppn N nn pppp u
DELETE /api/tokens/{token:corp}                             uu uuu pp ppN n nn pppp u
DELETE /api/tokens/{token:system}                           uu uuu pp ppN N nn pppp u
DELETE /api/tokens/{id}                                     uu uuu pp ppN N NN pppp u
DELETE /api/tokens/no-id                                    uu uuu pp ppN N NN pppp u

-- The audit log
GET    /api/audit?limit=1                                   uu uuu pp ppo o oo pppp u
GET    /api/audit?limit=1&catalog=acme                      uu uuu pp ppo m oo pppp u
GET    /api/audit?limit=1&catalog=corp                      uu uuu pp ppm o oo pppp u
GET    /api/audit?limit=1&catalog=ghost                     uu uuu pp ppm m oo pppp u
GET    /api/audit?limit=1&catalog=system                    uu uuu pp ppp p oo pppp u

-- Tags and their rules
GET    /api/catalogs/acme/tag-rules                         uu uuu oo ooo m oo oooo u
GET    /api/catalogs/corp/tag-rules                         uu uuu mm mmm o oo mmmm u
GET    /api/catalogs/ghost/tag-rules                        uu uuu mm mmm m NN mmmm u
GET    /api/catalogs/system/tag-rules                       uu uuu oo ooo o oo oooo u
PUT    /api/catalogs/acme/tag-rules                         uu uuu pp ppo m oo pppp u  rules
PUT    /api/catalogs/corp/tag-rules                         uu uuu pp ppm o oo pppp u  rules
PUT    /api/catalogs/ghost/tag-rules                        uu uuu pp ppm m NN pppp u  rules
PUT    /api/catalogs/system/tag-rules                       uu uuu pp ppp p oo pppp u  rules
POST   /api/catalogs/acme/tags                              uu uuu pp nnn m nn nnnn u  tag:acme
POST   /api/catalogs/acme/tags                              uu uuu pp cnn m nn nnnn u  move:acme
POST   /api/catalogs/corp/tags                              uu uuu pp mmm n nn mmmm u  tag:corp
POST   /api/catalogs/ghost/tags                             uu uuu pp mmm m NN mmmm u  tag:ghost
POST   /api/catalogs/system/tags                            uu uuu pp ppp p nn pppp u  tag:system

-- Plugins of one's own organisation; nobody uploads anything, as no body says what it is
GET    /api/orgs/acme/plugins                               uu uuu oo ooo m oo oooo u
GET    /api/orgs/acme/plugins/facets                        uu uuu oo ooo m oo oooo u
GET    /api/orgs/acme/plugins/com.example.tool              uu uuu oo ooo m oo oooo u
GET    /api/orgs/acme/plugins/com.example.tool/versions     uu uuu oo ooo m oo oooo u
GET    /api/orgs/acme/plugins/com.example.tool/versions/1.0 uu uuu oo ooo m oo oooo u
GET    /api/orgs/acme/plugins/com.example.tool/versions/1.0/files uu uuu oo ooo m oo oooo u
GET    /api/orgs/acme/plugins/com.example.tool/versions/1.0/files/plugin.json uu uuu oo ooo m oo oooo u
GET    /api/orgs/acme/plugins/com.example.tool/versions/1.0/readme uu uuu oo ooo m oo oooo u
GET    /api/orgs/acme/plugins/com.example.tool/settings-schema uu uuu oo ooo m oo oooo u
GET    /api/orgs/acme/plugins/com.example.tool/diff?from=1.0&to=2.0 uu uuu oo ooo m oo oooo u
GET    /api/orgs/acme/plugins/{version:acme}                uu uuu oo ooo m oo oooo u
GET    /api/orgs/acme/plugins/{version:system}              uu uuu oo ooo m oo oooo u
GET    /api/orgs/acme/plugins/{version:corp}                uu uuu NN NNN m NN NNNN u
GET    /api/orgs/acme/plugins/{id}                          uu uuu NN NNN m NN NNNN u
POST   /api/orgs/acme/plugins/upload                        uu uuu pp xxx m xx xxxx u
PATCH  /api/orgs/acme/plugins/{version:acme}                uu uuu pp Coo m oo oooo u  enabled
PATCH  /api/orgs/acme/plugins/{version:system}              uu uuu pp NNN m NN NNNN u  enabled
PATCH  /api/orgs/acme/plugins/{version:corp}                uu uuu pp NNN m NN NNNN u  enabled
PATCH  /api/orgs/acme/plugins/no-id                         uu uuu pp NNN m NN NNNN u  enabled
DELETE /api/orgs/acme/plugins/{version:acme}                uu uuu pp Cnn m nn nnnn u
DELETE /api/orgs/acme/plugins/{version:system}              uu uuu pp NNN m NN NNNN u
DELETE /api/orgs/acme/plugins/{version:corp}                uu uuu pp NNN m NN NNNN u

-- Plugins of a foreign organisation
GET    /api/orgs/corp/plugins                               uu uuu mm mmm o oo mmmm u
GET    /api/orgs/corp/plugins/facets                        uu uuu mm mmm o oo mmmm u
GET    /api/orgs/corp/plugins/com.example.tool              uu uuu mm mmm o oo mmmm u
GET    /api/orgs/corp/plugins/com.example.tool/versions     uu uuu mm mmm o oo mmmm u
GET    /api/orgs/corp/plugins/com.example.tool/versions/1.0 uu uuu mm mmm o oo mmmm u
GET    /api/orgs/corp/plugins/com.example.tool/versions/1.0/files uu uuu mm mmm o oo mmmm u
GET    /api/orgs/corp/plugins/com.example.tool/versions/1.0/files/plugin.json uu uuu mm mmm o oo mmmm u
GET    /api/orgs/corp/plugins/com.example.tool/versions/1.0/readme uu uuu mm mmm o oo mmmm u
GET    /api/orgs/corp/plugins/com.example.tool/settings-schema uu uuu mm mmm o oo mmmm u
GET    /api/orgs/corp/plugins/com.example.tool/diff?from=1.0&to=2.0 uu uuu mm mmm o oo mmmm u
GET    /api/orgs/corp/plugins/{version:corp}                uu uuu mm mmm o oo mmmm u
GET    /api/orgs/corp/plugins/{version:acme}                uu uuu mm mmm N NN mmmm u
POST   /api/orgs/corp/plugins/upload                        uu uuu pp mmm x xx mmmm u
PATCH  /api/orgs/corp/plugins/{version:corp}                uu uuu pp mmm o oo mmmm u  enabled
PATCH  /api/orgs/corp/plugins/{version:acme}                uu uuu pp mmm N NN mmmm u  enabled
DELETE /api/orgs/corp/plugins/{version:corp}                uu uuu pp mmm n nn mmmm u
DELETE /api/orgs/corp/plugins/{version:acme}                uu uuu pp mmm N NN mmmm u

-- Plugins of no organisation
GET    /api/orgs/ghost/plugins                              uu uuu mm mmm m NN mmmm u
GET    /api/orgs/ghost/plugins/facets                       uu uuu mm mmm m NN mmmm u
GET    /api/orgs/ghost/plugins/com.example.tool             uu uuu mm mmm m NN mmmm u
GET    /api/orgs/ghost/plugins/com.example.tool/versions    uu uuu mm mmm m NN mmmm u
GET    /api/orgs/ghost/plugins/com.example.tool/versions/1.0 uu uuu mm mmm m NN mmmm u
GET    /api/orgs/ghost/plugins/com.example.tool/versions/1.0/files uu uuu mm mmm m NN mmmm u
GET    /api/orgs/ghost/plugins/com.example.tool/versions/1.0/files/plugin.json uu uuu mm mmm m NN mmmm u
GET    /api/orgs/ghost/plugins/com.example.tool/versions/1.0/readme uu uuu mm mmm m NN mmmm u
GET    /api/orgs/ghost/plugins/com.example.tool/settings-schema uu uuu mm mmm m NN mmmm u
GET    /api/orgs/ghost/plugins/com.example.tool/diff?from=1.0&to=2.0 uu uuu mm mmm m NN mmmm u
GET    /api/orgs/ghost/plugins/{version:system}             uu uuu mm mmm m NN mmmm u
POST   /api/orgs/ghost/plugins/upload                       uu uuu pp mmm m NN mmmm u
PATCH  /api/orgs/ghost/plugins/{version:system}             uu uuu pp mmm m NN mmmm u  enabled
DELETE /api/orgs/ghost/plugins/{version:system}             uu uuu pp mmm m NN mmmm u

-- The system catalog is no organisation
GET    /api/orgs/system/plugins                             uu uuu mm mmm m NN mmmm u
GET    /api/orgs/system/plugins/facets                      uu uuu mm mmm m NN mmmm u
GET    /api/orgs/system/plugins/com.example.tool            uu uuu mm mmm m NN mmmm u
GET    /api/orgs/system/plugins/com.example.tool/versions   uu uuu mm mmm m NN mmmm u
GET    /api/orgs/system/plugins/com.example.tool/versions/1.0 uu uuu mm mmm m NN mmmm u
GET    /api/orgs/system/plugins/com.example.tool/versions/1.0/files uu uuu mm mmm m NN mmmm u
GET    /api/orgs/system/plugins/com.example.tool/versions/1.0/files/plugin.json uu uuu mm mmm m NN mmmm u
GET    /api/orgs/system/plugins/com.example.tool/versions/1.0/readme uu uuu mm mmm m NN mmmm u
GET    /api/orgs/system/plugins/com.example.tool/settings-schema uu uuu mm mmm m NN mmmm u
GET    /api/orgs/system/plugins/com.example.tool/diff?from=1.0&to=2.0 uu uuu mm mmm m NN mmmm u
GET    /api/orgs/system/plugins/{version:system}            uu uuu mm mmm m NN mmmm u
POST   /api/orgs/system/plugins/upload                      uu uuu pp mmm m NN mmmm u
PATCH  /api/orgs/system/plugins/{version:system}            uu uuu pp mmm m NN mmmm u  enabled
DELETE /api/orgs/system/plugins/{version:system}            uu uuu pp mmm m NN mmmm u

-- Plugins of the system catalog
GET    /api/admin/plugins                                   uu uuu oo ooo o oo oooo u
GET    /api/admin/plugins/facets                            uu uuu oo ooo o oo oooo u
GET    /api/admin/plugins/com.example.tool                  uu uuu oo ooo o oo oooo u
GET    /api/admin/plugins/com.example.tool/versions         uu uuu oo ooo o oo oooo u
GET    /api/admin/plugins/com.example.tool/versions/1.0     uu uuu oo ooo o oo oooo u
GET    /api/admin/plugins/com.example.tool/versions/1.0/files uu uuu oo ooo o oo oooo u
GET    /api/admin/plugins/com.example.tool/versions/1.0/files/plugin.json uu uuu oo ooo o oo oooo u
GET    /api/admin/plugins/com.example.tool/versions/1.0/readme uu uuu oo ooo o oo oooo u
GET    /api/admin/plugins/com.example.tool/settings-schema  uu uuu oo ooo o oo oooo u
GET    /api/admin/plugins/com.example.tool/diff?from=1.0&to=2.0 uu uuu oo ooo o oo oooo u
GET    /api/admin/plugins/{version:system}                  uu uuu oo ooo o oo oooo u
GET    /api/admin/plugins/{version:acme}                    uu uuu NN NNN N NN NNNN u
POST   /api/admin/plugins/upload                            uu uuu pp ppp p xx pppp u
PATCH  /api/admin/plugins/{version:system}                  uu uuu pp ppp p oo pppp u  enabled
PATCH  /api/admin/plugins/{version:acme}                    uu uuu pp ppp p NN pppp u  enabled
DELETE /api/admin/plugins/{version:system}                  uu uuu pp ppp p nn pppp u
DELETE /api/admin/plugins/{version:acme}                    uu uuu pp ppp p NN pppp u

-- What orchestrators load
PUT    /api/orgs/acme/enablements/org/com.example.tool      uu uuu pp Coo m oo oooo u  enable
PUT    /api/orgs/acme/enablements/system/com.example.tool   uu uuu pp poo m oo oooo u  enable
GET    /api/orgs/acme/enablements                           uu uuu oo ooo m oo oooo u
GET    /api/orgs/acme/enablements/org/com.example.tool      uu uuu oo ooo m oo oooo u
GET    /api/orgs/acme/enablements/system/com.example.none   uu uuu NN NNN m NN NNNN u
GET    /api/orgs/acme/orchestrator-plan                     uu uuu oo ooo m oo oooo u
DELETE /api/orgs/acme/enablements/org/com.example.none      uu uuu pp CNN m NN NNNN u
DELETE /api/orgs/acme/enablements/system/com.example.none   uu uuu pp pNN m NN NNNN u
PUT    /api/orgs/corp/enablements/org/com.example.tool      uu uuu pp mmm o oo mmmm u  enable
GET    /api/orgs/corp/enablements                           uu uuu mm mmm o oo mmmm u
GET    /api/orgs/corp/enablements/org/com.example.tool      uu uuu mm mmm o oo mmmm u
GET    /api/orgs/corp/orchestrator-plan                     uu uuu mm mmm o oo mmmm u
DELETE /api/orgs/corp/enablements/org/com.example.none      uu uuu pp mmm N NN mmmm u
PUT    /api/orgs/ghost/enablements/system/com.example.tool  uu uuu pp mmm m NN mmmm u  enable
GET    /api/orgs/ghost/enablements                          uu uuu mm mmm m NN mmmm u
GET    /api/orgs/ghost/enablements/system/com.example.tool  uu uuu mm mmm m NN mmmm u
GET    /api/orgs/ghost/orchestrator-plan                    uu uuu mm mmm m NN mmmm u
DELETE /api/orgs/ghost/enablements/system/com.example.tool  uu uuu pp mmm m NN mmmm u
PUT    /api/orgs/system/enablements/system/com.example.tool uu uuu pp mmm m NN mmmm u  enable
GET    /api/orgs/system/enablements                         uu uuu mm mmm m NN mmmm u
GET    /api/orgs/system/enablements/system/com.example.tool uu uuu mm mmm m NN mmmm u
GET    /api/orgs/system/orchestrator-plan                   uu uuu mm mmm m NN mmmm u
DELETE /api/orgs/system/enablements/system/com.example.tool uu uuu pp mmm m NN mmmm u

-- Blocked digests, and the description of all this
GET    /api/admin/blocked-digests                           uu uuu pp ppp p oo pppp u
PUT    /api/admin/blocked-digests/{block}                   uu uuu pp ppp p ++ pppp u  reason
DELETE /api/admin/blocked-digests/{block}                   uu uuu pp ppp p nn pppp u
DELETE /api/admin/blocked-digests/{layer:ghost}             uu uuu pp ppp p NN pppp u
GET    /api/openapi.json                                    oo uuu oo ooo o oo oooo o
";

/// A line of the table.
pub struct Row {
    pub method: &'static str,
    path: &'static str,
    outcomes: Vec<char>,
    body: &'static str,
}

pub fn rows() -> Vec<Row> {
    let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with("--"));
    lines.map(Row::read).collect()
}

impl Row {
    fn read(line: &'static str) -> Self {
        let mut words = line.split_whitespace();
        let mut next = || words.next().unwrap_or_default();
        let (method, path) = (next(), next());
        let outcomes: Vec<char> = (0..8).flat_map(|_| next().chars()).collect();
        assert_eq!(outcomes.len(), CALLERS.len(), "{line}");
        Self { method, path, outcomes, body: next() }
    }

    /// The request of a caller: the path, and the body.
    pub fn request(&self, who: &str, ids: &Ids) -> (String, String) {
        let mut path = self.path.replace("{who}", who).replace("{id}", ID);
        for catalog in ["acme", "corp", "ghost", "system"] {
            let token = ids.tokens.iter().find(|(on, _)| *on == catalog).map_or(ID, |(_, ids)| {
                let place = CALLERS.iter().position(|caller| *caller == who).expect("a caller");
                ids[place].as_str()
            });
            let version = ids.versions.iter().find(|(on, _)| *on == catalog).map_or(ID, |(_, id)| id);
            path = path
                .replace(&format!("{{hex:{catalog}}}"), &Sha256::of(catalog.as_bytes()).hex().to_string())
                .replace(&format!("{{layer:{catalog}}}"), &Sha256::of(catalog.as_bytes()).to_string())
                .replace(&format!("{{manifest:{catalog}}}"), &digest(&manifest(catalog)))
                .replace(&format!("{{token:{catalog}}}"), token)
                .replace(&format!("{{version:{catalog}}}"), version);
        }
        path = path.replace("{block}", &Sha256::of(who.as_bytes()).to_string());
        let (what, catalog) = self.body.split_once(':').unwrap_or((self.body, ""));
        let tag = |tag: &str, digest: String| json!([{"repository": format!("{catalog}/tool"), "tag": format!("{tag}-{who}"), "digest": digest}]);
        let body = match what {
            "" => String::new(),
            "layer" => catalog.to_owned(),
            "index" => index().to_string(),
            "organisation" => json!({"id": format!("by-{who}")}).to_string(),
            "name" => json!({"name": "A name"}).to_string(),
            "rules" => json!({"immutable": []}).to_string(),
            "enabled" => json!({"enabled": true}).to_string(),
            "enable" => json!({"version": "2.0"}).to_string(),
            "reason" => json!({"reason": "A test."}).to_string(),
            "grant" => {
                json!({"name": who, "grants": [{"catalog": catalog, "role": "publisher"}]}).to_string()
            }
            "tag" => tag("set", digest(&manifest(catalog))).to_string(),
            "move" => tag("moves", digest(&index())).to_string(),
            other => panic!("no body is called {other}"),
        };
        (path, body)
    }
}

/// Ids that nobody knows beforehand.
#[derive(Default)]
pub struct Ids {
    /// Of tokens on a catalog, one for each caller to try and revoke.
    tokens: Vec<(&'static str, Vec<String>)>,
    /// Of a catalog's plugin, version 1.0.
    versions: Vec<(&'static str, String)>,
}

/// The id of nothing.
const ID: &str = "01976f4e-0000-7000-8000-000000000000";

/// What `latest` is in a catalog's repository.
fn manifest(catalog: &str) -> Value {
    let (config, layer) = (Sha256::of(b"{}").to_string(), Sha256::of(catalog.as_bytes()).to_string());
    image(&config, 2, &[(&layer, catalog.len())])
}

/// A manifest that needs nothing.
fn index() -> Value {
    json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": []})
}

fn digest(manifest: &Value) -> String {
    Sha256::of(manifest.to_string().as_bytes()).to_string()
}

/// A server with a repository in each catalog, and everybody who asks.
pub struct World {
    _server: Server,
    pub ids: Ids,
    clients: Vec<Client>,
    _folder: tempfile::TempDir,
}

impl World {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let issuing = Issuing::new(folder.path());
        let server = issuing.start(&[]);
        let admin = server.admin();
        let mut ids = Ids::default();
        for catalog in ["acme", "corp", "system"] {
            let repository = format!("{catalog}/tool");
            assert_eq!(admin.push_artifact(&repository, "latest", catalog).await, digest(&manifest(catalog)));
            let tag = |tag: String| json!({"repository": repository, "tag": tag, "digest": digest(&manifest(catalog))});
            let tags: Vec<Value> = CALLERS
                .iter()
                .flat_map(|who| [format!("moves-{who}"), format!("gone-{who}")])
                .map(tag)
                .collect();
            let path = format!("/api/catalogs/{catalog}/tags");
            assert_eq!(admin.send("POST", &path, &[], json!(tags).to_string()).await.status, 204);
            let mut tokens = Vec::new();
            for _ in CALLERS {
                tokens.push(made(&admin, catalog, "publisher", json!({})).await.0);
            }
            ids.tokens.push((catalog, tokens));
            for version in ["2.0", "1.0"] {
                let package = Package::new("com.example.tool", version).field("readme", json!("README.md"));
                let zip = package.file("README.md", format!("Of {catalog}.")).bytes();
                assert_eq!(admin.push_plugin(&plugin(catalog), version, &zip).await.status, 201);
            }
            ids.versions.push((catalog, version_id(&admin, catalog).await));
        }
        let client = |token: &str| Client::new(server.address, Some(token));
        let api = async |catalog, role| client(&made(&admin, catalog, role, json!({})).await.1);
        // Both were good and are warm in memory.
        let (_, expired) = made(&admin, "acme", "publisher", json!({"expires_in": 1})).await;
        let (id, revoked) = made(&admin, "acme", "publisher", json!({})).await;
        for token in [&expired, &revoked] {
            assert_eq!(client(token).get("/api/whoami").await.status, 200);
        }
        assert_eq!(admin.delete(&format!("/api/tokens/{id}")).await.status, 204);
        tokio::time::sleep(Duration::from_millis(1100)).await;
        let publisher = api("acme", "publisher").await;
        let scopes = ["acme", "corp", "ghost", "system"].map(|on| format!("{on}/tool:pull,push,delete"));
        let scopes: Vec<&str> = scopes.iter().map(String::as_str).collect();
        let jwt = |kind| client(&issuing.token(kind, grants(&[("acme", "publisher")])));
        let clients = vec![
            server.anonymous(),
            server.anonymous().short(&scopes).await,
            client("quire_wrong"),
            client(&expired),
            client(&revoked),
            api("acme", "org_member").await,
            api("acme", "orchestrator").await,
            api("acme", "contributor").await,
            publisher.clone(),
            api("acme", "org_admin").await,
            api("corp", "org_admin").await,
            api("system", "sys_admin").await,
            client(ADMIN_TOKEN),
            jwt(Kind::Hs256),
            jwt(Kind::Rs256),
            jwt(Kind::Es256),
            jwt(Kind::EdDsa),
            publisher.short(&scopes).await,
        ];
        assert_eq!(clients.len(), CALLERS.len());
        Self { _server: server, ids, clients, _folder: folder }
    }

    pub fn callers(&self) -> impl Iterator<Item = (&'static str, &Client)> {
        CALLERS.into_iter().zip(&self.clients)
    }
}

/// Where a catalog's plugin is.
fn plugin(catalog: &str) -> String {
    format!("{catalog}/com.example.tool")
}

/// The id of version 1.0 of a catalog's plugin.
async fn version_id(admin: &Client, catalog: &str) -> String {
    let view = if catalog == "system" { "admin".to_owned() } else { format!("orgs/{catalog}") };
    let path = format!("/api/{view}/plugins/com.example.tool/versions/1.0");
    admin.get(&path).await.json()["id"].as_str().expect("an id").to_owned()
}

/// Makes an API token: its id, and the token.
pub async fn made(admin: &Client, catalog: &str, role: &str, more: Value) -> (String, String) {
    let mut body = json!({"name": role, "grants": [{"catalog": catalog, "role": role}]});
    for (key, value) in more.as_object().expect("an object") {
        body[key] = value.clone();
    }
    let answer = admin.send("POST", "/api/tokens", &[], body.to_string()).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let text = |key: &str| answer.json()[key].as_str().expect("a text").to_owned();
    (text("id"), text("token"))
}

/// Status and codes of an answer, as the legend has them.
fn told(path: &str, answer: &Answer) -> String {
    if answer.status.as_u16() < 400 {
        return answer.status.as_u16().to_string();
    }
    let (status, code) = if path.starts_with("/api/") { answer.problem() } else { answer.refusal() };
    assert_eq!(answer.header("www-authenticate").is_empty(), status != 401, "{path}");
    match (path.starts_with("/api/"), answer.json()["errors"][0]["detail"]["rule"].as_str()) {
        (false, Some(rule)) => format!("{status} {code} {rule}"),
        _ => format!("{status} {code}"),
    }
}

fn letter(path: &str, told: &str) -> String {
    let meaning =
        |(_, v2, api): &&(char, &str, &str)| if path.starts_with("/api/") { *api } else { *v2 } == told;
    LEGEND.iter().find(meaning).map_or(format!("[{told}]"), |(letter, ..)| letter.to_string())
}

/// P3: every route against every caller. HEAD answers as GET does, without the body.
#[tokio::test]
async fn every_route_answers_every_caller_as_the_table_says() {
    let world = World::start().await;
    let mut wrong = Vec::new();
    for row in rows() {
        let (mut expected, mut got) = (String::new(), String::new());
        for ((who, client), outcome) in world.callers().zip(&row.outcomes) {
            let (path, body) = row.request(who, &world.ids);
            let answer = client.send(row.method, &path, &[], body).await;
            expected.push(*outcome);
            got.push_str(&letter(&path, &told(&path, &answer)));
            if row.method == "GET" {
                let head = client.head(&path).await;
                assert_eq!(head.status, answer.status, "HEAD {path} of {who}");
                assert!(head.body.is_empty(), "HEAD {path} of {who}");
            }
        }
        if got != expected {
            wrong.push(format!(
                "{} {} {}\n    expected {expected}\n    got      {got}",
                row.method, row.path, row.body
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What a method and a path without placeholders parse to.
fn parse(method: &str, path: &str) -> Result<Route, RouteError> {
    Route::parse(&method.parse().expect("a method"), &path.parse().expect("a path"))
}

#[test]
fn no_route_is_missing_in_the_table() {
    let (mut named, mut seen) = (HashSet::new(), HashSet::new());
    for row in rows() {
        let (path, _) = row.request("publisher", &Ids::default());
        let route =
            parse(row.method, &path).unwrap_or_else(|error| panic!("{} {path}: {error:?}", row.method));
        named.insert(RouteName::from(&route));
        assert!(seen.insert((row.method, row.path, row.body)), "{} {path} stands there twice", row.method);
    }
    let missing: Vec<RouteName> = RouteName::iter().filter(|name| !named.contains(name)).collect();
    assert!(missing.is_empty(), "no row is about {missing:?}");
}

#[tokio::test]
async fn a_method_that_a_path_does_not_take_is_told_which_ones_it_does() {
    let server = Server::start(&[]);
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"];
    let paths: BTreeSet<String> =
        rows().iter().map(|row| row.request("publisher", &Ids::default()).0).collect();
    for path in paths {
        let takes = |method: &&str| !matches!(parse(method, &path), Err(RouteError::Method { .. }));
        let (taken, others): (BTreeSet<&str>, Vec<&str>) = {
            let (taken, others): (Vec<_>, Vec<_>) = methods.into_iter().partition(takes);
            (taken.into_iter().collect(), others)
        };
        assert!(others.contains(&"OPTIONS"), "{path}");
        for method in others {
            for client in [server.admin(), server.anonymous()] {
                let answer = client.send(method, &path, &[], "").await;
                let allow: BTreeSet<&str> = answer.header("allow").split(", ").collect();
                assert_eq!((answer.status.as_u16(), &allow), (405, &taken), "{method} {path}");
                let code = if path.starts_with("/api/") { "405 unsupported" } else { "405 UNSUPPORTED" };
                assert!(method == "HEAD" || told(&path, &answer) == code, "{method} {path} {answer:?}");
            }
        }
        let read: Method = "HEAD".parse().expect("a method");
        assert_eq!(taken.contains("GET"), taken.contains(read.as_str()), "{path}");
    }
}
