// SPDX-License-Identifier: MIT
pragma solidity 0.8.37;

/// @title Registry of the models that merchants train together, round by round
/// @notice In every round each merchant may publish one model, trained from the round's parent. The
/// merchants then compute the aggregate of all models of the round, each for itself, and attest it.
/// Once more than half of the round's merchants attest the same aggregate, the round is closed, and
/// the next one begins with that aggregate as its parent. Nothing of a closed round changes again.
/// @dev The models themselves lie elsewhere: the contract holds the address (CID) and the SHA-256
/// digest of their bytes, and whoever fetches them compares. The contract cannot compute an
/// aggregate; it counts merchants that say they did.
///
/// Silence. A merchant that never publishes or never attests holds up nobody, as long as more than
/// half of the round's merchants attest. If half of them or more are gone for good, the round stays
/// open: the operator then deploys another registry that begins with the last aggregate. No key can
/// close a round, reopen one or take anything back.
///
/// No loop is longer than MAX_MERCHANTS, and only the operator makes lists grow.
contract ModelRegistry {
    // --- what is read ----------------------------------------------------------------------------

    /// @notice The bytes of a model or an aggregate, by what identifies them.
    struct Model {
        /// SHA-256 of the bytes; zero where there is no model.
        bytes32 digest;
        /// Content identifier in binary, at most MAX_CID_BYTES.
        bytes cid;
    }

    /// @notice One merchant's model of one round.
    struct Publication {
        address merchant;
        /// Number of samples that the model was trained on, as the merchant says.
        uint64 samples;
        bytes32 digest;
        bytes cid;
    }

    /// @notice One merchant's latest word on the aggregate of one round.
    struct Attestation {
        address merchant;
        /// Number of publications that the aggregate covers; counted only while that is all of them.
        uint64 covered;
        bytes32 digest;
        bytes cid;
    }

    /// @notice A whole round.
    struct Round {
        uint64 number;
        bool closed;
        /// The aggregate of the round before.
        Model parent;
        address[] merchants;
        /// In the order in which they came.
        Publication[] publications;
        /// In the order of the merchants' first attestations.
        Attestation[] attestations;
        /// Empty (digest zero) while the round is open.
        Model aggregate;
    }

    // --- what is refused -------------------------------------------------------------------------

    error NotOperator(address caller, address operator);
    error BadFounders(uint256 given, uint256 most);
    error BadMerchant(address merchant);
    error AlreadyMerchant(address merchant);
    error NotMerchant(address merchant);
    error TooManyMerchants(uint256 most);
    error LastMerchant(address merchant);
    error NotActive(address merchant, uint64 round);
    error WrongRound(uint64 given, uint64 current);
    error UnknownRound(uint64 given, uint64 current);
    error WrongParent(bytes32 given, bytes32 expected);
    error AlreadyPublished(address merchant, uint64 round);
    error NothingPublished(uint64 round);
    error StaleAttestation(uint64 covered, uint64 published);
    error AlreadyAttested(address merchant, uint64 round);
    error BadCid(uint256 length, uint256 most);
    error BadDigest(bytes32 digest);
    error BadSamples(uint64 given, uint64 most);

    // --- what is told ----------------------------------------------------------------------------

    event Admitted(address indexed merchant, uint64 indexed fromRound);
    event Retired(address indexed merchant, uint64 indexed fromRound);
    event RoundOpened(uint64 indexed round, bytes32 indexed parent, bytes cid, uint64 merchants);
    event Published(
        uint64 indexed round,
        address indexed merchant,
        bytes32 indexed digest,
        bytes32 parent,
        bytes cid,
        uint64 samples
    );
    event Attested(
        uint64 indexed round,
        address indexed merchant,
        bytes32 indexed digest,
        bytes cid,
        uint64 covered,
        uint64 votes
    );
    event RoundClosed(
        uint64 indexed round,
        bytes32 indexed digest,
        bytes cid,
        uint64 publications,
        uint64 votes
    );

    // --- what is kept ----------------------------------------------------------------------------

    /// @notice The most merchants of a round.
    uint64 public constant MAX_MERCHANTS = 64;
    /// @notice The most bytes of a CID: any CID of a 256-bit hash, and some room.
    uint256 public constant MAX_CID_BYTES = 64;
    /// @notice The most samples of a publication: sums over a round stay exact in a double.
    uint64 public constant MAX_SAMPLES = 1e12;

    /// @notice Who deployed the registry; admits and retires merchants, and can do nothing else.
    /// @dev Not immutable, so that the code of all registries is the same and can be recognised.
    address public operator;
    /// @notice The number of the open round; 1 after deployment. Round 0 is the initial model.
    uint64 public currentRound;

    struct Membership {
        uint64 from; // the first round
        uint64 until; // the first round no more
    }

    struct Candidate {
        uint64 covered;
        uint64 votes;
        bytes32 digest;
        bytes cid;
    }

    struct State {
        uint64 roster; // index in `rosters`
        bytes32 outcome; // key of the closing candidate; zero while the round is open
        address[] publishers;
        address[] attesters;
    }

    /// @dev Lists of merchants, a new one for each round in which the operator changes anything; the
    /// last is the next round's. The first is round 0's: nobody.
    address[][] private rosters;
    mapping(address => Membership) private memberships;
    mapping(uint64 => State) private rounds;
    mapping(uint64 => mapping(address => Publication)) private publications;
    /// @dev By `_key`, so that like attestations of one round meet in one candidate.
    mapping(bytes32 => Candidate) private candidates;
    /// @dev The key of each merchant's latest attestation in a round.
    mapping(uint64 => mapping(address => bytes32)) private choices;

    /// @notice Begin round 1, of the founders, with an initial model as its parent.
    /// @dev Founders are named here, as whoever is admitted later takes part from the next round on
    /// and a round of nobody could not be closed.
    constructor(bytes memory cid, bytes32 digest, address[] memory founders) {
        if (founders.length == 0 || founders.length > MAX_MERCHANTS) {
            revert BadFounders(founders.length, MAX_MERCHANTS);
        }
        _checkModel(cid.length, digest);
        operator = msg.sender;
        bytes32 key = _key(0, 0, digest, cid);
        candidates[key] = Candidate(0, 0, digest, cid);
        rounds[0].outcome = key;
        rosters.push();
        address[] storage roster = rosters.push();
        for (uint256 i = 0; i < founders.length; i++) {
            _enter(roster, founders[i], 1);
        }
        _open(1, digest, cid);
    }

    // --- the operator ----------------------------------------------------------------------------

    /// @notice Admit a merchant from the next round on.
    function admit(address merchant) external {
        _onlyOperator();
        address[] storage roster = _nextRoster();
        if (roster.length == MAX_MERCHANTS) revert TooManyMerchants(MAX_MERCHANTS);
        _enter(roster, merchant, currentRound + 1);
    }

    /// @notice Retire a merchant from the next round on; in the open round it keeps its rights.
    function retire(address merchant) external {
        _onlyOperator();
        uint64 next = currentRound + 1;
        if (!_belongs(merchant, next)) revert NotMerchant(merchant);
        address[] storage roster = _nextRoster();
        if (roster.length == 1) revert LastMerchant(merchant);
        memberships[merchant].until = next;
        uint256 place = 0;
        while (roster[place] != merchant) place++;
        roster[place] = roster[roster.length - 1];
        roster.pop();
        emit Retired(merchant, next);
    }

    // --- the merchants ---------------------------------------------------------------------------

    /// @notice Publish the caller's model of the open round, once and for good.
    /// @param round The open round; a transaction that comes too late does not slip into the next.
    /// @param parent Digest of the aggregate that training started from: the round's parent.
    /// @dev Two merchants may publish the same digest: if that were refused, whoever sees a
    /// publication before it is in a block could publish its digest first and shut its maker out.
    function publish(
        uint64 round,
        bytes32 parent,
        bytes calldata cid,
        bytes32 digest,
        uint64 samples
    ) external {
        _checkTurn(round);
        bytes32 expected = candidates[rounds[round - 1].outcome].digest;
        if (parent != expected) revert WrongParent(parent, expected);
        Publication storage publication = publications[round][msg.sender];
        if (publication.digest != 0) revert AlreadyPublished(msg.sender, round);
        _checkModel(cid.length, digest);
        if (samples == 0 || samples > MAX_SAMPLES) revert BadSamples(samples, MAX_SAMPLES);
        publication.merchant = msg.sender;
        publication.samples = samples;
        publication.digest = digest;
        publication.cid = cid;
        rounds[round].publishers.push(msg.sender);
        emit Published(round, msg.sender, digest, parent, cid, samples);
    }

    /// @notice Attest the aggregate that the caller computed from all publications of the open round.
    /// @param covered Number of publications that it computed from. If another one came in between,
    /// the attestation is refused, and a publication voids the attestations before it: so the
    /// aggregate of a closed round is one of all its publications, and anyone can recompute it. A
    /// merchant can delay a round in this way once, as it publishes once.
    /// @dev A merchant that attests something else afterwards moves its vote; it is counted once.
    /// Were that refused, merchants that could not fetch a model at the same time would be split
    /// for good and the round stuck. A round is closed by the first majority, so that moving a vote
    /// cannot close it twice; every attestation is an event, so that contradictions are seen.
    function attest(uint64 round, uint64 covered, bytes calldata cid, bytes32 digest) external {
        _checkTurn(round);
        State storage state = rounds[round];
        uint64 published = uint64(state.publishers.length);
        if (published == 0) revert NothingPublished(round);
        if (covered != published) revert StaleAttestation(covered, published);
        _checkModel(cid.length, digest);

        bytes32 key = _key(round, covered, digest, cid);
        bytes32 former = choices[round][msg.sender];
        if (former == key) revert AlreadyAttested(msg.sender, round);
        if (former == 0) {
            state.attesters.push(msg.sender);
        } else {
            candidates[former].votes -= 1;
        }
        choices[round][msg.sender] = key;
        Candidate storage candidate = candidates[key];
        if (candidate.digest == 0) {
            candidate.covered = covered;
            candidate.digest = digest;
            candidate.cid = cid;
        }
        uint64 votes = candidate.votes + 1;
        candidate.votes = votes;
        emit Attested(round, msg.sender, digest, cid, covered, votes);

        if (2 * uint256(votes) > rosters[state.roster].length) {
            state.outcome = key;
            emit RoundClosed(round, digest, cid, published, votes);
            _open(round + 1, digest, cid);
        }
    }

    // --- anyone ----------------------------------------------------------------------------------

    /// @notice A round with all that belongs to it; bounded by MAX_MERCHANTS.
    function readRound(uint64 number) external view returns (Round memory round) {
        State storage state = _known(number);
        round.number = number;
        round.closed = state.outcome != 0;
        if (number > 0) round.parent = _model(rounds[number - 1].outcome);
        round.merchants = rosters[state.roster];
        round.publications = new Publication[](state.publishers.length);
        for (uint256 i = 0; i < state.publishers.length; i++) {
            round.publications[i] = publications[number][state.publishers[i]];
        }
        round.attestations = new Attestation[](state.attesters.length);
        for (uint256 i = 0; i < state.attesters.length; i++) {
            round.attestations[i] = _attestation(number, state.attesters[i]);
        }
        if (round.closed) round.aggregate = _model(state.outcome);
    }

    /// @notice A merchant's publication in a round; its digest is zero where there is none.
    function publicationOf(
        uint64 number,
        address merchant
    ) external view returns (Publication memory) {
        _known(number);
        return publications[number][merchant];
    }

    /// @notice A merchant's latest attestation in a round; its digest is zero where there is none.
    function attestationOf(
        uint64 number,
        address merchant
    ) external view returns (Attestation memory) {
        _known(number);
        return _attestation(number, merchant);
    }

    /// @notice The merchants of the next round, as things stand.
    function nextMerchants() external view returns (address[] memory) {
        return rosters[rosters.length - 1];
    }

    // --- parts -----------------------------------------------------------------------------------

    function _onlyOperator() private view {
        if (msg.sender != operator) revert NotOperator(msg.sender, operator);
    }

    function _checkTurn(uint64 round) private view {
        if (round != currentRound) revert WrongRound(round, currentRound);
        if (!_belongs(msg.sender, round)) revert NotActive(msg.sender, round);
    }

    function _checkModel(uint256 cidLength, bytes32 digest) private pure {
        if (cidLength == 0 || cidLength > MAX_CID_BYTES) revert BadCid(cidLength, MAX_CID_BYTES);
        if (digest == 0) revert BadDigest(digest);
    }

    function _belongs(address merchant, uint64 round) private view returns (bool) {
        Membership storage membership = memberships[merchant];
        return membership.from <= round && round < membership.until;
    }

    /// @dev The next round's roster, to be changed: a copy of the open round's if it is the same.
    function _nextRoster() private returns (address[] storage) {
        uint256 last = rosters.length - 1;
        if (last == rounds[currentRound].roster) {
            rosters.push(rosters[last]);
            last++;
        }
        return rosters[last];
    }

    function _enter(address[] storage roster, address merchant, uint64 next) private {
        if (merchant == address(0)) revert BadMerchant(merchant);
        if (_belongs(merchant, next)) revert AlreadyMerchant(merchant);
        Membership storage membership = memberships[merchant];
        // A merchant of the open round that was to leave stays: it did not begin anew.
        if (!_belongs(merchant, next - 1)) membership.from = next;
        membership.until = type(uint64).max;
        roster.push(merchant);
        emit Admitted(merchant, next);
    }

    function _open(uint64 round, bytes32 digest, bytes memory cid) private {
        uint256 last = rosters.length - 1;
        rounds[round].roster = uint64(last);
        currentRound = round;
        emit RoundOpened(round, digest, cid, uint64(rosters[last].length));
    }

    function _known(uint64 number) private view returns (State storage) {
        if (number > currentRound) revert UnknownRound(number, currentRound);
        return rounds[number];
    }

    function _model(bytes32 key) private view returns (Model memory) {
        Candidate storage candidate = candidates[key];
        return Model(candidate.digest, candidate.cid);
    }

    function _attestation(
        uint64 number,
        address merchant
    ) private view returns (Attestation memory) {
        bytes32 key = choices[number][merchant];
        if (key == 0) return Attestation(address(0), 0, 0, "");
        Candidate storage candidate = candidates[key];
        return Attestation(merchant, candidate.covered, candidate.digest, candidate.cid);
    }

    function _key(
        uint64 round,
        uint64 covered,
        bytes32 digest,
        bytes memory cid
    ) private pure returns (bytes32) {
        return keccak256(abi.encode(round, covered, digest, cid));
    }
}
